"""Leftovers: the rings of processes that captured for whoever comes, and are gone. Standard library only.

In: the directory in which they announced themselves. Out: their shared memory is free, their announcements are gone.
A child that ends by `os._exit`, as multiprocessing's do, or by a signal cannot do that itself, and a service may fork
thousands. What somebody reads is his to remove; a ring that is not here may be that of a process elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from poolctl.clock import monotonic_ns
from poolctl.trace.ring import PROMISE_AT


def clear(directory: Path) -> None:
    """Remove what is left of the processes that announced themselves in `directory`. Raises nothing."""
    with contextlib.suppress(OSError):
        for names in directory.glob("names-*.jsonl"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                with names.open("rb") as file:
                    entry = json.loads(file.readline())
                ring = Path(entry["ring"])
                if exists(int(entry["pid"])) or _promised(ring):
                    continue
                ring.unlink()
                names.unlink(missing_ok=True)


def exists(pid: int) -> bool:
    """Whether there is such a process, another user's or a zombie too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _promised(ring: Path) -> bool:
    """Whether somebody promised to read it until some time to come."""
    with ring.open("rb") as file:
        file.seek(PROMISE_AT)
        return int.from_bytes(file.read(8), sys.byteorder) > monotonic_ns()
