"""Log known: what is known of a connection that a log speaks of, and of whom a line is about.

In: an `Entry`. Out: its pool, who asked, a lease begun. Holds no life cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

from poolctl.target.log_echoes import SILENCE, Word
from poolctl.target.log_formats import Entry, number_of
from poolctl.target.log_leases import Lease
from poolctl.target.log_messages import driver_of
from poolctl.target.log_records import LogPool, LogProcess


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, between two uses of its address."""

    number: int
    pool: LogPool
    leases: list[Lease]
    """Those that hold it; several only where a pool shares its one connection."""
    coming: Lease | None = None
    """The request for which it was opened, until its checkout."""
    returning: Lease | None = None
    """Its return was logged; whether it succeeds, the next lines say."""
    at: int = 0
    """When its return was logged, or the reset of a connection that nobody returns."""
    last: Word = SILENCE


def pool_of(entry: Entry, process: LogProcess) -> tuple[LogPool, int]:
    """Return the pool of a line, and the task or thread that wrote it; 0: not told."""
    pool = process.pool(entry.pool_class, entry.pool_name)
    if pool.driver == "?":
        pool.dialect, pool.driver = driver_of(entry.text)
        pool.is_async = pool.is_async or "<AdaptedConnection" in entry.text
    name = entry.task or (0 if pool.is_async else entry.thread)  # all tasks of a loop share its thread
    return pool, number_of(name) if name else 0


def lease_of(entry: Entry, process: LogProcess, pool: LogPool, who: int, at: int) -> Lease:
    """Return a lease that was requested at `at` at the latest."""
    return Lease(
        process, pool, process.lease(), who, at, context=entry.context, trace=entry.trace, checked_out=pool.held
    )


def theirs(leases: list[Lease], who: int) -> Lease:
    """Take the lease of whoever returns the connection; the oldest where that is not told."""
    for lease in leases:
        if lease.who == who:
            leases.remove(lease)
            return lease
    return leases.pop(0)
