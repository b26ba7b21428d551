"""Process: whether a live process can be attached to, and where in it CPython is.

In: a process id. Out: a `Process` with the addresses of CPython's functions, or one clear line that says why not and
what to do. Stops nobody and changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from poolctl.errors import InputError, TargetError, UsageError
from poolctl.target import debugger
from poolctl.target.elf import Elf

OLDEST = (3, 11)

FUNCTIONS = frozenset(
    {
        "Py_AddPendingCall",
        "PyRun_SimpleString",
        "PyGILState_Check",
        "PyGILState_Ensure",
        "PyGILState_Release",
        "Py_MakePendingCalls",
        "Py_Version",
    }
)
"""What is looked up in CPython; the last is data, its version since 3.11."""

_SYS_PTRACE = 19
"""The bit of CAP_SYS_PTRACE."""
_IN_EVERY_CPYTHON = b"PYTHONHASHSEED"
LAUNCH = "start it with `poolctl diagnose -- COMMAND` instead"


@dataclass(frozen=True, slots=True)
class Process:
    """A live CPython process that may be attached to."""

    pid: int
    executable: str
    """Path of the interpreter."""
    version: tuple[int, int]
    """Of its Python."""
    uid: int
    addresses: dict[str, int] = field(repr=False)
    """Of `FUNCTIONS`, in its memory."""


def look_at(pid: int) -> Process:
    """Return what is to be known of a process before it is attached to.

    Raises UsageError for a number that is none, TargetError for a process that is not there, is not ours to touch, or
    is not a CPython that can be attached to.
    """
    if pid <= 0:
        raise UsageError(f"{pid} is not a process id", "give the number that `ps` shows")
    if pid == os.getpid():
        raise UsageError(f"{pid} is poolctl itself", "give the application's process id")
    status = _status(pid)
    uid = int(status["Uid"].split()[1])
    _refuse_kernel(status, pid)
    _refuse_elsewhere(pid)
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        if not maps:
            raise TargetError(f"process {pid} has no memory of its own to look into", "give the application's process")
        addresses = _python_in(pid, maps)
        version = _version(pid, addresses)
    except PermissionError:
        raise not_permitted(pid, uid) from None
    except (FileNotFoundError, ProcessLookupError):
        raise gone(pid) from None
    executable = _program(pid).removesuffix(" (deleted)")
    return Process(pid, executable, version, uid, addresses)


def alive(pid: int) -> bool:
    """Whether the process is there and runs."""
    try:
        return _status(pid)["State"][0] not in "ZX"
    except TargetError:
        return False


def refuse_unreachable(process: Process, file: Path, directory: Path) -> None:
    """Raise TargetError when the process, as another user, cannot read poolctl or write into the run directory."""
    if process.uid == os.geteuid():
        return
    os.chown(directory, process.uid, -1)
    for path in directory.iterdir():
        os.chown(path, process.uid, -1)
    for path, may in ((file, "r"), (directory, "w")):
        asked = subprocess.run(["/usr/bin/test", f"-{may}", path], user=process.uid, check=False)  # noqa: S603
        if asked.returncode:
            what = "read poolctl's files" if may == "r" else "write the run"
            hint = f"run poolctl as {_user(process.uid)}" + (", or give --runs-dir /tmp/poolctl" if may == "w" else "")
            raise TargetError(
                f"process {process.pid} belongs to {_user(process.uid)}, who may not {what}: {path}", hint
            )


def gone(pid: int) -> TargetError:
    """Return the error for a process that is not there."""
    return TargetError(f"there is no process {pid}", "`pgrep -af python` lists those that run")


def not_permitted(pid: int, uid: int) -> TargetError:
    """Return the error for a process that this user may not attach to, with the reason as far as it can be told."""
    tracer = _status(pid).get("TracerPid", "0")
    if tracer != "0":
        return traced(pid, tracer)
    scope = ""
    with contextlib.suppress(OSError):
        scope = Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip()
    if scope == "3":
        return TargetError(
            f"not permitted to attach to process {pid}: the kernel forbids it to all (kernel.yama.ptrace_scope)", LAUNCH
        )
    if os.geteuid() == 0:
        return _not_permitted_to_root(pid)
    if uid != os.geteuid():
        owner = _user(uid)
        hint = f"run poolctl as {owner}, or as root" if uid else "run poolctl as root"
        return TargetError(f"process {pid} belongs to {owner}: not permitted to attach", hint)
    if scope not in ("", "0"):
        return TargetError(
            f"not permitted to attach to process {pid}: the kernel forbids it (kernel.yama.ptrace_scope)",
            "run poolctl with sudo, or `sysctl kernel.yama.ptrace_scope=0`",
        )
    return TargetError(
        f"not permitted to attach to process {pid}",
        "run poolctl as root; in a container it needs --cap-add=SYS_PTRACE",
    )


def _not_permitted_to_root(pid: int) -> TargetError:
    capable = int(_status(os.getpid())["CapEff"], 16) >> _SYS_PTRACE & 1
    if not capable:
        return TargetError(
            f"not permitted to attach to process {pid}: root without the capability SYS_PTRACE, as in a container",
            f"run the container with --cap-add=SYS_PTRACE, or {LAUNCH}",
        )
    return TargetError(
        f"not permitted to attach to process {pid}, not even as root: a security module or a sandbox forbids it",
        f"see the kernel's log (AppArmor, SELinux, seccomp), or {LAUNCH}",
    )


def traced(pid: int, tracer: str) -> TargetError:
    """Return the error for a process that somebody else holds: there can be one only."""
    return TargetError(
        f"process {pid} is being traced by process {tracer}", "end that debugger, strace or profiler first"
    )


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        raise gone(pid) from None
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _refuse_kernel(status: dict[str, str], pid: int) -> None:
    if status["State"].startswith(("Z", "X")):
        raise TargetError(f"process {pid} has ended already (a zombie)", "give a process that runs")
    if status["State"].startswith("T"):
        raise TargetError(f"process {pid} is stopped", f"let it go on first: kill -CONT {pid}")
    if status.get("TracerPid", "0") != "0":
        raise traced(pid, status["TracerPid"])
    if status["Tgid"] != str(pid):
        raise TargetError(f"{pid} is a thread of process {status['Tgid']}", f"give --pid {status['Tgid']}")


def _refuse_elsewhere(pid: int) -> None:
    """Refuse a process that does not see the same files and process ids as poolctl does."""
    for kind in ("mnt", "pid"):
        try:
            same = Path(f"/proc/{pid}/ns/{kind}").readlink() == Path(f"/proc/self/ns/{kind}").readlink()
        except OSError:
            continue
        if not same:
            raise TargetError(f"process {pid} runs in a container of its own", "run poolctl inside that container")


def _python_in(pid: int, maps: list[str]) -> dict[str, int]:
    """Return the addresses of CPython's functions in the process; where they are hidden, as a debugger finds them."""
    looked: dict[str, tuple[Elf, int]] = {}
    program = _program(pid)
    for line in maps:
        where, _, offset, _, _, *path = line.split(None, 5)
        name = path[0] if path else ""
        if int(offset, 16) or not name.startswith("/") or name in looked:
            continue
        if name == program or name.rpartition("/")[2].startswith("libpython"):
            elf = _open(pid, name, is_program=name == program)
            bias = elf.load_bias(int(where.partition("-")[0], 16))
            looked[name] = elf, bias
            if found := _whole(elf.symbols(FUNCTIONS), bias):
                return found
    what = program.rpartition("/")[2] or "it"
    for elf, bias in looked.values():
        if elf.holds(_IN_EVERY_CPYTHON):
            if found := _whole(debugger.symbols(elf.path, FUNCTIONS), bias):
                return found
            raise TargetError(f"process {pid} ({what}) is a Python without symbols: gdb finds none, either", LAUNCH)
    if "pypy" in what:
        raise TargetError(f"process {pid} ({what}) is not CPython", "poolctl can read its log: --log FILE")
    raise TargetError(f"process {pid} ({what}) is not a Python process", "`pgrep -af python` lists those that run")


def _whole(values: dict[str, int], bias: int) -> dict[str, int]:
    """Return the addresses of what was found, when it is CPython."""
    return {symbol: value + bias for symbol, value in values.items()} if "Py_AddPendingCall" in values else {}


def _program(pid: int) -> str:
    return str(Path(f"/proc/{pid}/exe").readlink())


def _open(pid: int, name: str, *, is_program: bool) -> Elf:
    """Open a mapped file as the process sees it, also when it was replaced since (an upgrade)."""
    path = Path(f"/proc/{pid}/exe" if is_program else f"/proc/{pid}/root{name}")
    try:
        elf = Elf(path)
    except FileNotFoundError:
        raise TargetError(f"process {pid} runs a Python that was replaced since ({name})", "restart it") from None
    except InputError:
        raise TargetError(f"process {pid} is a 32-bit program", LAUNCH) from None
    if elf.machine != Elf(Path("/proc/self/exe")).machine:
        raise TargetError(f"process {pid} is a program of another architecture than this poolctl's Python", LAUNCH)
    return elf


def _version(pid: int, addresses: dict[str, int]) -> tuple[int, int]:
    if "Py_Version" not in addresses:
        raise TargetError(f"process {pid} runs a Python older than 3.11", "poolctl can read its log: --log FILE")
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(addresses["Py_Version"])
        (number,) = struct.unpack("<Q", memory.read(8))
    return number >> 24 & 0xFF, number >> 16 & 0xFF


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
