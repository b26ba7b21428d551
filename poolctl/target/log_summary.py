"""Log summary: what was read from a log, for the caller and for run.json.

In: a log that was read, and its records. Out: `LogSummary`, the facts of run.json. Knows nothing of lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from poolctl.target.log_psycopg import POOL_CLASS
from poolctl.target.log_records import LogPool, Records


@dataclass(frozen=True, slots=True)
class LogSummary:
    """What was read from a log."""

    source: str
    """The file's name, or "standard input"."""
    lines: int
    pool_lines: int
    """Lines in which a pool says something."""
    malformed: int
    """Lines of a pool without a time, or about a connection that they do not name."""
    duplicates: int
    """Lines that a second handler wrote again."""
    leases: int
    ends: dict[str, int]
    """How many leases met each end."""
    orphans: int
    """Ends of leases that began before the log did."""
    unclear: int
    """Leases whose return is missing in the log, though their connection was taken again."""
    processes: int
    pools: list[LogPool]
    started_at: datetime
    duration_s: float
    resolution_s: float
    """The step of the log's times, in seconds."""
    interrupted: bool
    """Reading was stopped by hand; what was read until then is in the run."""
    blind: list[str]
    """What this log cannot tell, one sentence each."""


def _untold(records: Records) -> list[str]:
    """Return what the log cannot tell, by the words of objectives and of the report's pool section."""
    pools = [pool for process in records.processes.values() for pool in process.pools.values()]
    found = {"timeouts", "cancelled"}
    if any(pool.settings.get("pool_size") is None for pool in pools):
        found.add("overflow")
    for pool in pools:
        if pool.pool_class == POOL_CLASS:
            found |= {"failed", "errors", "invalidated", "detached", "abandoned", "connects"}
            continue
        found.add("waiting")
        if not pool.is_async:
            found.add("abandoned")
    return sorted(found)


def meta_of(summary: LogSummary, records: Records, objectives: Sequence[str]) -> dict[str, Any]:
    """Return run.json; the target is the pool that was taken from most."""
    busiest = max(records.processes.values(), key=lambda process: process.leases)
    pool = max(busiest.pools.values(), key=lambda pool: pool.taken)
    return {
        "command": "diagnose",
        "scenario": None,
        "seed": None,
        "source": {"kind": "log", "name": summary.source, "resolution_s": summary.resolution_s},
        "started_at": summary.started_at.isoformat(),
        "duration_s": summary.duration_s,
        "ended_at_s": summary.duration_s,
        "processes": summary.processes,
        "anchor": list(records.anchor),
        "untold": _untold(records),
        "end": "interrupted" if summary.interrupted else "completed",
        "target": {
            "dialect": pool.dialect,
            "driver": pool.driver,
            "pool_class": pool.pool_class,
            "settings": pool.entry()["settings"],
            "server": {},
        },
        "objectives": list(objectives),
    }
