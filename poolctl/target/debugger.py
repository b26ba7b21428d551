"""Debugger: gdb, for where poolctl's own way into a process ends: another machine than x86-64, symbols it cannot find.

In: an ELF file, or a process id and what to do there. Out: where symbols lie, or what was done, as `target.ptrace`
would have; but all threads stop, for about half a second. Nothing is called in the process before this gdb has shown
on a process of our own that it can: one that does not know the processor's registers destroys what it calls into.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import platform
import re
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from poolctl.clock import NS, monotonic_ns
from poolctl.errors import TargetError
from poolctl.target.ptrace import CALL_S, PAGE, undisturbed

START_S = 60.0
"""How long gdb may take to read symbols."""
GRACE_S = 5.0
"""How much longer than a call may take gdb may, to break it off and to say so."""

INSTALL = "install gdb"

_QUIET = ("set confirm off", "set pagination off", "set width 0", "set auto-load no", "set language c")
_CALLS = ("set unwindonsignal on", "set unwind-on-timeout on")  # the second is of gdb 14
_SAID, _END = "poolctl=", "poolctl-end"
_PROBE = "import sys; print(1, flush=True); sys.stdin.read()"

Result = TypeVar("Result")


def symbols(file: Path, wanted: frozenset[str]) -> dict[str, int]:
    """Return the values of those symbols that gdb knows of a file, its separate debug information included.

    Touches no process. Raises TargetError without gdb, or when it takes more than a minute.
    """
    asked = [f'printf "{_SAID}{name} %lu\\n", (unsigned long)&{name}' for name in sorted(wanted)]
    command = [*_command(_find("the program hides its Python's functions: to find them takes gdb")), "--batch"]
    for line in asked:
        command += ["-ex", line]
    try:
        told = subprocess.run(  # noqa: S603 - gdb, from PATH
            [*command, str(file)], capture_output=True, text=True, env=_environment(), timeout=START_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise TargetError(f"gdb takes more than {START_S:g} s to read {file}", "try gdb by hand") from None
    except OSError as error:
        raise TargetError(f"gdb does not start: {error.strerror}", "try gdb by hand") from None
    return {name: int(value) for name, value in re.findall(rf"{_SAID}(\w+) (\d+)", told.stdout)}


def while_stopped(pid: int, action: Callable[[Any], Result]) -> Result:
    """Stop `pid`, do something, let it go on; as `target.ptrace.while_stopped`, with a `Held` for its `Stopped`.

    Raises PermissionError and ProcessLookupError as the kernel does, TargetError without a gdb that can do it.
    """
    gdb = _find(f"attaching on {platform.machine()} takes gdb")
    if fault := undisturbed(lambda: fault_of(gdb)):
        raise TargetError(f"the gdb of this machine cannot call functions in a process: {fault}", "install a newer gdb")

    def work() -> Result:
        with _held(gdb, pid) as held:
            return action(held)

    return undisturbed(work)


class Held:
    """A process that gdb holds: what `target.ptrace.Stopped` can do, for `attach_pid`."""

    def __init__(self, gdb: str, pid: int) -> None:
        self.pid = pid
        self._gdb = subprocess.Popen(  # noqa: S603 - gdb, from PATH
            [*_command(gdb), "-p", str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env=_environment(),
            start_new_session=True,  # a Ctrl-C is poolctl's: gdb would break off what is under way
        )
        try:
            self._begin()
        except BaseException:
            self.end()
            raise

    def map_page(self) -> int:
        """Map a fresh page there and return its address; the process is left with it until `unmap_page`."""
        address = self._value(f"((long(*)(long, long, int, int, int, long))mmap)(0, {PAGE}, 3, 0x22, -1, 0)", CALL_S)
        if address == -1:
            raise TargetError(f"process {self.pid} has no memory left", "it is at a limit of its own")
        return address

    def unmap_page(self, address: int) -> None:
        """Give a page back."""
        self._value(f"((int(*)(long, long))munmap)({address}, {PAGE})", CALL_S)

    def write(self, address: int, data: bytes) -> None:
        """Write into its memory."""
        with open(f"/proc/{self.pid}/mem", "r+b", buffering=0) as memory:  # noqa: PTH123 - no file to speak of
            memory.seek(address)
            if memory.write(data) != len(data):
                raise TargetError(f"cannot write into process {self.pid}", "report it with the kernel's version")

    def call(self, function: int | str, *arguments: int, limit_s: float = CALL_S) -> int:
        """Call a function with up to two arguments and return its result as an int of C.

        Raises TargetError when it has not come back in time; the thread is then where it was before.
        """
        first, second = (*arguments, 0, 0)[:2]
        return self._value(f"((int(*)(long, long)){function})({first}, {second})", limit_s)

    def end(self) -> None:
        """Let the process go on."""
        try:
            self._gdb.communicate(b"detach\nquit\n", timeout=START_S)
        except subprocess.TimeoutExpired:
            self._gdb.kill()  # the kernel lets go of the process
            self._gdb.communicate()

    def _begin(self) -> None:
        said = self._say("", START_S)
        try:
            self._value("$pc", START_S)
        except TargetError:
            if "not permitted" in said:
                raise PermissionError(self.pid) from None
            if "No such process" in said:
                raise ProcessLookupError(self.pid) from None
            raise TargetError(f"gdb does not attach to process {self.pid}: {_last(said)}", "try gdb by hand") from None
        for line in _CALLS:
            self._say(line, START_S)

    def _value(self, expression: str, limit_s: float) -> int:
        """Return what an expression comes to; raises TargetError when it does not in time, or fails."""
        self._say(f"set direct-call-timeout {math.ceil(limit_s)}", START_S)  # gdb 14 and newer
        began = monotonic_ns()
        said = self._say(f'printf "{_SAID}%ld\\n", (long)({expression})', limit_s)
        found = re.search(rf"^{_SAID}(-?\d+)$", said, re.MULTILINE)
        if found is not None:
            return int(found[1])
        if monotonic_ns() - began >= limit_s * NS:
            raise TargetError(f"process {self.pid} is busy: it did not answer in {limit_s:g} s", "try again")
        raise TargetError(f"a call into process {self.pid} failed in gdb: {_last(said)}", "try gdb by hand")

    def _say(self, line: str, limit_s: float) -> str:
        """Have gdb do a line and return what it says; break it off when it takes too long."""
        assert self._gdb.stdin is not None  # noqa: S101 - a pipe
        with contextlib.suppress(BrokenPipeError):  # it has ended: what it said last is read below
            self._gdb.stdin.write(f"{line}\necho {_END}\\n\n".encode())
        said, ended = self._read("", limit_s + 1.0)
        if not ended:
            self._gdb.send_signal(signal.SIGINT)
            said, ended = self._read(said, GRACE_S)
        if not ended:
            self._gdb.kill()
            raise self._lost("it did not come back")
        return said.replace("(gdb) ", "")

    def _read(self, said: str, limit_s: float) -> tuple[str, bool]:
        """Read on until the end of an answer; return what there is by then, and whether that was the end."""
        assert self._gdb.stdout is not None  # noqa: S101 - a pipe
        until = monotonic_ns() + int(limit_s * NS)
        with selectors.DefaultSelector() as selector:
            selector.register(self._gdb.stdout, selectors.EVENT_READ)
            while not re.search(rf"^(\(gdb\) )*{_END}$", said, re.MULTILINE):
                if not selector.select(max(0.0, (until - monotonic_ns()) / NS)):
                    return said, False
                data = os.read(self._gdb.stdout.fileno(), 1 << 16)
                if not data:
                    raise self._lost(_last(said))
                said += data.decode(errors="replace")
        return re.sub(rf"^(\(gdb\) )*{_END}\n", "", said, flags=re.MULTILINE), True

    def _lost(self, why: str) -> TargetError:
        return TargetError(f"gdb failed with process {self.pid}: {why}", "see whether the process is well")


@contextmanager
def _held(gdb: str, pid: int) -> Iterator[Held]:
    held = Held(gdb, pid)
    try:
        yield held
    finally:
        held.end()


@functools.cache
def fault_of(gdb: str) -> str:
    """Return why this gdb (a path) cannot call a function in a process of our own; empty when it can."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-I", "-S", "-c", _PROBE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as guinea_pig:
        try:
            assert guinea_pig.stdout is not None  # noqa: S101 - a pipe
            guinea_pig.stdout.readline()
            with _held(gdb, guinea_pig.pid) as held:
                return "" if held.call("getpid") == guinea_pig.pid else "a wrong result"
        except TargetError as error:
            return error.message.partition(": ")[2] or error.message
        finally:
            guinea_pig.kill()


def _find(why: str) -> str:
    gdb = shutil.which("gdb")
    if gdb is None:
        raise TargetError(f"{why}, which is not installed", INSTALL)
    return gdb


def _command(gdb: str) -> list[str]:
    return [gdb, "-nx", "-q", *(word for line in _QUIET for word in ("-iex", line))]


def _environment() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C", "DEBUGINFOD_URLS": ""}  # it must neither translate nor download


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
