"""Ptrace: call a function inside another process, on its main thread, and leave everything as it was. x86-64 Linux.

In: a process id, addresses and integer arguments. Out: the function's result. The main thread alone is stopped, for
some two milliseconds; the other threads run on. Registers, vector state and signal mask are put back whatever happens,
a system call that was interrupted goes on as after any stop.

All of it happens on one thread of poolctl that then ends: were it to fail in the middle, the kernel lets go of the
process when that thread is gone. Knows nothing of Python.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from poolctl.clock import NS, monotonic_ns
from poolctl.errors import TargetError

SEIZE, INTERRUPT, CONT, STEP, DETACH = 0x4206, 0x4207, 7, 9, 17
GETREGSET, SETREGSET, GETSIGMASK, SETSIGMASK = 0x4204, 0x4205, 0x420A, 0x420B
PRSTATUS, XSTATE = 1, 0x202
EVENT_STOP = 128
"""`PTRACE_EVENT_STOP`: the stop that INTERRUPT makes, in bits 16 and up of a wait status."""

STOP_S = 2.0
"""How long the main thread may take to stop; it does not while it waits for a disk that hangs."""
CALL_S = 1.0
"""How long a called function may take before it is broken off."""
LOOK_S = 0.0002

_FIELDS = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
    *("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
)
_WORD = (1 << 64) - 1
_NO_SYSCALL = _WORD
"""In orig_rax: the kernel must not take the present state for an interrupted system call."""
_RETURN_TO = 0x1000
"""Where called functions return to: never mapped (below vm.mmap_min_addr), so the kernel stops the thread there."""
_RED_ZONE = 128
"""Bytes below the stack pointer that a function may use without telling."""
_TRAP_AND_DIRECTION = 0x500
_NEVER_BLOCKED = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)
"""Blocked, the kernel would take the process's own handlers for these away when they strike."""
_SYSCALL = b"\x0f\x05"
_MMAP, _MUNMAP = 9, 11
PAGE = 4096

Result = TypeVar("Result")


class Registers(ctypes.Structure):
    """`struct user_regs_struct`."""

    _fields_ = [(name, ctypes.c_uint64) for name in _FIELDS]


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class Stopped:
    """A process whose main thread is stopped. Made by `stopped`; only on the thread that made it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._saved = self._registers()
        self._vectors = self._vector_state()
        self._mask = ctypes.create_string_buffer(8)
        _ptrace(GETSIGMASK, pid, 8, ctypes.addressof(self._mask))
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        blocked = _WORD
        for number in _NEVER_BLOCKED:
            blocked &= ~(1 << number - 1)
        _ptrace(SETSIGMASK, pid, 8, ctypes.addressof(mask := ctypes.c_uint64(blocked)))
        del mask  # kept until here: an address alone keeps nothing alive

    def map_page(self) -> int:
        """Map a fresh page there and return its address; the process is left with it until `unmap_page`."""
        read_write, private_anonymous = 3, 0x22
        address = self._syscall(_MMAP, 0, PAGE, read_write, private_anonymous, _WORD, 0)
        if address > _WORD - PAGE:
            raise TargetError(f"process {self.pid} has no memory left", "it is at a limit of its own")
        return address

    def unmap_page(self, address: int) -> None:
        """Give a page back."""
        self._syscall(_MUNMAP, address, PAGE)

    def write(self, address: int, data: bytes) -> None:
        """Write into its memory."""
        if os.pwrite(self._memory, data, address) != len(data):
            raise TargetError(f"cannot write into process {self.pid}", "report it with the kernel's version")

    def call(self, function: int, *arguments: int, limit_s: float = CALL_S) -> int:
        """Call a function with up to two arguments and return its result as an int of C.

        Raises TargetError when it has not come back in time; the thread is then where it was before.
        """
        stack = (self._saved.rsp - _RED_ZONE - 1024 & ~0xF) - 8
        self.write(stack, struct.pack("<Q", _RETURN_TO))
        registers = self._copy()
        registers.rdi, registers.rsi = (*arguments, 0, 0)[:2]
        registers.rip, registers.rsp, registers.rax = function, stack, 0
        self._set(registers)
        self._run(CONT, lambda now, number: number == signal.SIGSEGV and now.rip == _RETURN_TO, limit_s)
        return ctypes.c_int(self._registers().rax & 0xFFFFFFFF).value

    def restore(self) -> None:
        """Put everything back as it was."""
        os.close(self._memory)
        self._set(self._saved)
        vector = _Vector(ctypes.addressof(self._vectors), len(self._vectors))
        _ptrace(SETREGSET, self.pid, XSTATE, ctypes.addressof(vector))
        _ptrace(SETSIGMASK, self.pid, 8, ctypes.addressof(self._mask))

    def _syscall(self, number: int, *arguments: int) -> int:
        registers = self._copy()
        names = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
        for name, value in zip(names, arguments, strict=False):
            setattr(registers, name, value)
        registers.rax, registers.rip = number, self._find_syscall()
        self._set(registers)
        self._run(STEP, lambda now, _: now.rip != registers.rip, CALL_S)
        return int(self._registers().rax)

    def _find_syscall(self) -> int:
        """Return the address of a `syscall` instruction: behind the one it stopped in, or any in the C library."""
        before = self._saved.rip - 2
        if os.pread(self._memory, 2, before) == _SYSCALL:
            return int(before)
        for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines():
            where, permissions, *_, name = line.split()
            if "x" in permissions and ("/libc" in name or name == "[vdso]" or "/ld-" in name):
                start, end = (int(part, 16) for part in where.split("-"))
                at = os.pread(self._memory, end - start, start).find(_SYSCALL)
                if at >= 0:
                    return start + at
        raise TargetError(f"process {self.pid} uses a C library that poolctl does not know", "use `-- COMMAND`")

    def _run(self, how: int, done: Callable[[Registers, int], bool], limit_s: float) -> None:
        """Let the thread run until it stops where it should; break it off when that takes too long."""
        deliver = 0
        until = monotonic_ns() + int(limit_s * NS)
        while True:
            _ptrace(how, self.pid, 0, deliver)
            status = _wait(self.pid, until)
            if status is None:
                _ptrace(INTERRUPT, self.pid, 0, 0)
                if _wait(self.pid, monotonic_ns() + int(STOP_S * NS)) is None:
                    raise TargetError(
                        f"process {self.pid} does not stop any more", "end poolctl; it may need a restart"
                    )
                raise TargetError(f"process {self.pid} is busy: it did not answer in {limit_s:g} s", "try again")
            number = os.WSTOPSIG(status)
            if status >> 16 == 0 and done(self._registers(), number):
                return
            if number == signal.SIGSEGV:
                raise TargetError(f"a call into process {self.pid} failed", "report it with the versions of both sides")
            deliver = 0 if status >> 16 or number == signal.SIGTRAP else number

    def _copy(self) -> Registers:
        registers = Registers.from_buffer_copy(self._saved)
        registers.orig_rax = _NO_SYSCALL
        registers.eflags &= ~_TRAP_AND_DIRECTION
        return registers

    def _registers(self) -> Registers:
        registers = Registers()
        vector = _Vector(ctypes.addressof(registers), ctypes.sizeof(registers))
        _ptrace(GETREGSET, self.pid, PRSTATUS, ctypes.addressof(vector))
        return registers

    def _set(self, registers: Registers) -> None:
        vector = _Vector(ctypes.addressof(registers), ctypes.sizeof(registers))
        _ptrace(SETREGSET, self.pid, PRSTATUS, ctypes.addressof(vector))

    def _vector_state(self) -> Any:
        """The kernel says how large it is here: 11 kB with AMX, which some debuggers do not know."""
        space = ctypes.create_string_buffer(1 << 16)
        vector = _Vector(ctypes.addressof(space), len(space))
        _ptrace(GETREGSET, self.pid, XSTATE, ctypes.addressof(vector))
        return ctypes.create_string_buffer(space.raw[: vector.length], vector.length)


def while_stopped(pid: int, action: Callable[[Stopped], Result]) -> Result:
    """Stop the main thread of `pid`, do something, let it go on; return what `action` returned or raise what it raised.

    Raises PermissionError and ProcessLookupError as the kernel does, TargetError when it does not stop.
    """

    def work() -> Result:
        with _stopped(pid) as process:
            return action(process)

    return undisturbed(work)


def undisturbed(work: Callable[[], Result]) -> Result:
    """Do `work` on a thread that then ends, to its end; return what it returned or raise what it raised."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            outcome.append(error)

    thread = threading.Thread(target=run, name="poolctl-ptrace")
    thread.start()
    while thread.is_alive():  # a Ctrl-C waits: letting go in the middle would cost the process its life
        thread.join(0.1)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    result: Result = outcome[0]
    return result


@contextmanager
def _stopped(pid: int) -> Iterator[Stopped]:
    _ptrace(SEIZE, pid, 0, 0)
    _ptrace(INTERRUPT, pid, 0, 0)
    status = _wait(pid, monotonic_ns() + int(STOP_S * NS))
    if status is None:
        raise TargetError(f"process {pid} does not stop: it waits for a device", "try again later")
    signalled = 0 if status >> 16 else os.WSTOPSIG(status)  # it stopped with a signal of its own: that is handed back
    process = None
    try:
        process = Stopped(pid)
        yield process
    finally:
        try:
            if process is not None:
                process.restore()
        finally:
            _ptrace(DETACH, pid, 0, signalled)


def _wait(pid: int, until: int) -> int | None:
    """Return the status with which the thread stopped; None when it has not by then. Raises ProcessLookupError."""
    while True:
        found, status = os.waitpid(pid, os.WNOHANG | _WALL)
        if found:
            if not os.WIFSTOPPED(status):
                raise ProcessLookupError(pid)
            return status
        if monotonic_ns() > until:
            return None
        time.sleep(LOOK_S)


_WALL = 0x40000000
"""`__WALL`: wait for what is no child of ours, too."""


def _ptrace(request: int, pid: int, address: int, data: int) -> None:
    if _libc.ptrace(request, pid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
