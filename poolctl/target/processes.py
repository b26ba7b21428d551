"""Processes: how busy the interpreters of the watched processes are, looked at from outside (Linux).

In: process ids. Out: lines for `processes.jsonl`: in which share of some looks any thread of the process was running,
or ready to. One that always is has no moment to spare: Python lets one thread run at a time. Unlike the CPU time used
this also tells where other programs take the processor. And lines for `machine.jsonl`: when the machine itself stood
still, for the one who looks as for those that are looked at.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from poolctl.clock import NS, monotonic_ns

LOOKS = 5
"""Looks that make one line."""
MOST_THREADS = 64
"""Of a process with more, the first ones are looked at."""


@dataclass
class Looks:
    """The looks at processes that were not written down yet."""

    proc: Path = Path("/proc")
    _began: dict[int, int] = field(default_factory=dict)
    _seen: dict[int, list[bool]] = field(default_factory=dict)

    def look(self, pids: list[int]) -> list[dict[str, Any]]:
        """Look at each process; return the lines that are whole now.

        `from_ns`, `to_ns` (monotonic), `pid`, `wanted`: share of the looks with a thread that runs or waits for a CPU.
        """
        now, lines = monotonic_ns(), []
        for pid in dict.fromkeys(pids):
            running = any_thread_runs(pid, self.proc)
            if running is None:
                self._seen.pop(pid, None)
                continue
            seen = self._seen.setdefault(pid, [])
            if not seen:
                self._began.setdefault(pid, now)
            seen.append(running)
            if len(seen) == LOOKS:
                wanted = sum(seen) / LOOKS
                lines.append({"pid": pid, "from_ns": self._began[pid], "to_ns": now, "wanted": wanted})
                self._began[pid] = now
                seen.clear()
        return lines


WORTH_S = 0.05
"""A shorter stop of the machine is no news."""


@dataclass
class Stillness:
    """Whether this process, which does next to nothing, still gets to do it when it is due."""

    _at: int = 0
    _worked: int = 0
    _stolen: float = 0.0

    def look(self, every_s: float) -> dict[str, Any] | None:
        """Return a line if the machine stood still since the last look, which was meant to be `every_s` ago.

        `from_ns`, `to_ns` (monotonic), `lost_s`: the delay that no work of our own explains, or what the hypervisor
        gave to others meanwhile, whichever is longer.
        """
        now, worked, stolen = monotonic_ns(), time.process_time_ns(), stolen_s()
        before, lost = self._at, 0.0
        if before:
            late = now - before - (worked - self._worked) - int(every_s * NS)
            lost = max(late / NS, stolen - self._stolen)
        self._at, self._worked, self._stolen = now, worked, stolen
        return {"from_ns": before, "to_ns": now, "lost_s": lost} if lost >= WORTH_S else None


def stolen_s() -> float:
    """Return the CPU time that the hypervisor gave to others so far, all processors together; 0 where none tells."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def any_thread_runs(pid: int, proc: Path = Path("/proc")) -> bool | None:
    """Return whether any thread of a process runs or is ready to; None where it is gone, or there is no /proc."""
    try:
        threads = list((proc / str(pid) / "task").iterdir())
    except OSError:
        return None
    return any(_state(thread / "stat") == "R" for thread in threads[:MOST_THREADS])


def _state(stat: Path) -> str:
    """The third field; the second, a name in parentheses, may hold anything."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
