"""Log of psycopg_pool: from what its logger `psycopg.pool` said to leases.

In: `Entry` after `Entry`, in the order of the log. Out: leases through a `Ledger`. The messages name the pool, never
the connection: a lease is what one thread or task requested, was given and returned, the last first. Where the log
names neither, or the tasks of a loop share a thread's name, first come is first given and first returned: the mean
hold is right, each single one is not. The wait is known here, for the request is logged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from poolctl.target.log_formats import Entry, number_of
from poolctl.target.log_leases import ERROR, TIMED_OUT, Lease, Ledger
from poolctl.target.log_messages import What
from poolctl.target.log_records import LogPool, LogProcess
from poolctl.trace.events import UNKNOWN

POOL_CLASS = "psycopg_pool"
PSYCOPG = frozenset({What.REQUESTED, What.GIVEN, What.GIVEN_BACK, What.TIMEOUT})
"""What this life cycle hears; all else is SQLAlchemy's."""


@dataclass
class _Known:
    """What is known of one pool."""

    pool: LogPool
    asked: list[Lease] = field(default_factory=list)
    held: list[Lease] = field(default_factory=list)


class PsycopgLifecycle:
    """What is known of every psycopg_pool that the log speaks of."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.in_order = False
        """Some leases were paired by their order alone."""
        self._known: dict[tuple[int, str], _Known] = {}
        self._handlers: dict[What, Callable[[Entry, LogProcess, int], None]] = {
            What.REQUESTED: self._requested,
            What.GIVEN: self._given,
            What.GIVEN_BACK: self._given_back,
            What.TIMEOUT: self._timeout,
        }

    def hear(self, entry: Entry, process: LogProcess, at: int) -> None:
        """Take in one line, written at `at`."""
        handler = self._handlers.get(entry.message.what)
        if handler is not None:
            handler(entry, process, at)

    def finish(self) -> None:
        """The log is over: what is still held, or asked for, is open."""
        for known in self._known.values():
            for lease in (*known.held, *known.asked):
                self.ledger.leave(lease)

    def _requested(self, entry: Entry, process: LogProcess, at: int) -> None:
        known = self._pool(entry, process)
        who = self._who(entry, known)
        if who and not entry.task and any(lease.who == who for lease in known.asked):
            # A thread that waits cannot ask: these are the tasks of a loop, or the first request ended without a word.
            known.pool.is_async = True
            who = 0
        for lease in [one for one in known.asked if who and one.who == who]:
            known.asked.remove(lease)
            self.ledger.refuse(lease, at, ERROR)
        lease = Lease(process, known.pool, process.lease(), who, at, seen=True, checked_out=known.pool.held)
        lease.context, lease.trace, lease.connect = entry.context, entry.trace, UNKNOWN
        known.asked.append(lease)

    def _given(self, entry: Entry, process: LogProcess, at: int) -> None:
        known = self._pool(entry, process)
        lease = self._take(known.asked, self._who(entry, known), 0)
        if lease is None:
            lease = Lease(process, known.pool, process.lease(), self._who(entry, known), at, connect=UNKNOWN)
        else:
            lease.wait = at - lease.requested_at
        self.ledger.acquire(lease, at)
        known.held.append(lease)

    def _given_back(self, entry: Entry, process: LogProcess, at: int) -> None:
        known = self._pool(entry, process)
        lease = self._take(known.held, self._who(entry, known), -1)
        if lease is None:
            self.ledger.orphan(process, known.pool, 0, at)
        else:
            self.ledger.checkin(lease, at)

    def _timeout(self, entry: Entry, process: LogProcess, at: int) -> None:
        """A traceback names no pool: the request is the one of its thread or task, or the oldest that is old enough."""
        timeout = float(entry.message.detail[0])
        who = number_of(entry.task or entry.thread) if entry.task or entry.thread else 0
        old = at - round(timeout * 0.9e9)
        for (number, _), known in self._known.items():
            for lease in known.asked:
                if number == process.number and lease.requested_at <= old and (not who or lease.who in (who, 0)):
                    known.asked.remove(lease)
                    known.pool.settings["pool_timeout_s"] = timeout
                    lease.wait = at - lease.requested_at
                    self.ledger.refuse(lease, at, TIMED_OUT, "psycopg_pool.PoolTimeout")
                    return

    def _pool(self, entry: Entry, process: LogProcess) -> _Known:
        name = entry.message.detail[0]
        known = self._known.get((process.number, name))
        if known is None:
            pool = process.pool(POOL_CLASS, name)
            pool.dialect, pool.driver = "postgresql", "psycopg"
            known = self._known[process.number, name] = _Known(pool)
        return known

    def _who(self, entry: Entry, known: _Known) -> int:
        name = entry.task or (0 if known.pool.is_async else entry.thread)
        return number_of(name) if name else 0

    def _take(self, leases: list[Lease], who: int, place: int) -> Lease | None:
        """Take their lease; where they are not named, or another thread asked for it, the oldest."""
        theirs = [lease for lease in leases if lease.who == who] if who else []
        if theirs:
            found = theirs[place]
        elif leases:
            found = leases[0]
            self.in_order = self.in_order or len(leases) > 1
        else:
            return None
        leases.remove(found)
        return found
