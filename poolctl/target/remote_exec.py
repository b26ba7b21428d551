"""Remote exec: CPython 3.14's own way to run code in another process (PEP 768).

In: a process of 3.14 or newer, and source. Out: the source is run by its main thread, at its next bytecode: one that
waits in the kernel has none, and is not woken. It refuses other minor versions than its own, so it is asked of the
process's own interpreter; a program that is no interpreter, or another user's, is never run for that.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

from poolctl.errors import TargetError
from poolctl.target.process import Process

OLDEST = (3, 14)
LIMIT_S = 10.0

_ASK = "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])"
_GO_FIRST = "try:\n    __import__('os').unlink({name!r})\nexcept BaseException:\n    pass\n"
"""What a file begins with, which has been read to its end then: it goes also when nobody is left to remove it."""
_FORBIDDEN = "Remote debugging is not enabled in the remote process"
"""What it says of a process that was started with remote debugging switched off (3.14)."""
_SWITCH = b"PYTHON_DISABLE_REMOTE_DEBUG="
"""Set to anything, even to nothing, it switches remote debugging off (3.14)."""
_OPTION = frozenset({b"disable-remote-debug", b"-Xdisable-remote-debug"})


def remote_exec(process: Process, source: str) -> Path | None:
    """Have `source` run by the process's main thread; return the file it is in, which goes when it runs.

    None when the process cannot be asked so: it embeds Python, is another user's, or its interpreter was replaced or
    cannot be started from here. Raises TargetError when remote debugging is switched off in it, whatever the way.
    """
    if not _may_be_asked(process):
        _refuse_switched_off(process)
        return None
    handle, name = tempfile.mkstemp(prefix="poolctl-", suffix=".py")
    with os.fdopen(handle, "w") as file:
        file.write(_GO_FIRST.format(name=name) + source)
    try:
        asked = subprocess.run(  # noqa: S603 - the interpreter that the process itself runs
            [process.executable, "-I", "-S", "-c", _ASK, str(process.pid), name],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        Path(name).unlink(missing_ok=True)
        raise TargetError(f"{process.executable} does not start in {LIMIT_S:g} s", "try again later") from None
    except OSError:
        Path(name).unlink(missing_ok=True)
        _refuse_switched_off(process)
        return None
    if asked.returncode == 0:
        return Path(name)
    Path(name).unlink(missing_ok=True)
    if _FORBIDDEN in asked.stderr:
        raise _switched_off(process)
    _refuse_switched_off(process)
    return None


def _may_be_asked(process: Process) -> bool:
    """Whether its program may be run by us: with our rights, and with options of Python's."""
    return process.uid == os.geteuid() and Path(process.executable).name.startswith("python")


def _refuse_switched_off(process: Process) -> None:
    """Raise TargetError when its environment or its command line says so: there is nobody to ask."""
    with contextlib.suppress(OSError):
        there = Path("/proc", str(process.pid))
        variables = (there / "environ").read_bytes().split(b"\0")
        words = (there / "cmdline").read_bytes().split(b"\0")
        if not _OPTION.isdisjoint(words) or any(variable.startswith(_SWITCH) for variable in variables):
            raise _switched_off(process)


def _switched_off(process: Process) -> TargetError:
    return TargetError(
        f"process {process.pid} was started with remote debugging switched off",
        "start it without PYTHON_DISABLE_REMOTE_DEBUG and -X disable-remote-debug",
    )
