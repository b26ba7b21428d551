"""Remote exec: CPython 3.14's own way to run code in another process (PEP 768).

In: a process of 3.14 or newer, and source. Out: the source is run by its main thread, soon. It refuses other minor
versions than its own, so it is asked of the process's own interpreter. The tests try it where a 3.14 is installed; CI's
machine has none, so there only the way for 3.11 to 3.13 (`target.ptrace`) is.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from poolctl.errors import TargetError
from poolctl.target.process import Process

OLDEST = (3, 14)
LIMIT_S = 10.0

_ASK = "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])"


def remote_exec(process: Process, source: str) -> Path:
    """Have `source` run by the process's main thread; return the file it is in, to be removed when it has run.

    Raises TargetError when the process refuses (PYTHON_DISABLE_REMOTE_DEBUG).
    """
    handle, name = tempfile.mkstemp(prefix="poolctl-", suffix=".py")
    with os.fdopen(handle, "w") as file:
        file.write(source)
        os.fchmod(file.fileno(), 0o600)
        if process.uid != os.geteuid():
            os.fchown(file.fileno(), process.uid, -1)
    try:
        asked = subprocess.run(  # noqa: S603 - the interpreter that the process itself runs
            [process.executable, "-I", "-S", "-c", _ASK, str(process.pid), name],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        Path(name).unlink(missing_ok=True)
        raise TargetError(f"cannot reach process {process.pid} through {process.executable}: {error}") from None
    if asked.returncode:
        Path(name).unlink(missing_ok=True)
        why = (asked.stderr.strip().splitlines() or ["it refused"])[-1]
        raise TargetError(f"process {process.pid} takes no remote code: {why}", "is PYTHON_DISABLE_REMOTE_DEBUG set?")
    return Path(name)
