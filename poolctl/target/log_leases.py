"""Log leases: a lease as a log tells of it, from its first sign to its end.

In: what a life cycle (`log_lifecycle`, `log_psycopg`) made out. Out: its records, all at once when its end is known: a
line may say later what an earlier one meant. What a log does not tell is written as unknown. Knows no messages.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from poolctl.target.log_records import LogPool, LogProcess, Records
from poolctl.trace.events import UNKNOWN, UNKNOWN_COUNT, Flag, Kind

TIMED_OUT, CANCELLED, INVALIDATED, ABANDONED = (
    int(flag) for flag in (Flag.TIMED_OUT, Flag.CANCELLED, Flag.INVALIDATED, Flag.ABANDONED)
)
FRESH, OVERFLOW, UNSEEN, ERROR = int(Flag.FRESH), int(Flag.OVERFLOW), int(Flag.UNSEEN), int(Flag.ERROR)


@dataclass(slots=True, eq=False)
class Lease:
    """One request for a connection. Instants in nanoseconds since 1970."""

    process: LogProcess
    pool: LogPool
    number: int
    who: int
    """The task or thread, as `log_formats.number_of` has it; 0: not told."""
    requested_at: int
    """The latest that the request can have been made; the request itself where `seen`."""
    seen: bool = False
    fresh: bool = False
    overflow: bool = False
    """Beyond pool_size, where that is known."""
    connect: int = 0
    ping: int = 0
    wait: int = UNKNOWN
    connection: int = 0
    acquired_at: int | None = None
    reconnecting: bool = False
    """Its connection was found dead on checkout; it gets another."""
    counted: bool = False
    context: str = ""
    trace: int = 0
    checked_out: int = 0
    """Connections of the pool that were out at the request."""


@dataclass
class Ledger:
    """Every lease that is over, counted and written."""

    records: Records
    ends: Counter[str] = field(default_factory=Counter)
    orphans: int = 0
    """Ends of leases that began before the log did."""
    unclear: int = 0
    """Leases whose return was not logged: their connection was taken again."""

    def acquire(self, lease: Lease, at: int) -> None:
        """The lease has its connection since `at`."""
        lease.acquired_at = at
        if not lease.counted:
            lease.checked_out = lease.pool.held
            lease.counted = True
            lease.pool.held += 1
            lease.overflow = lease.pool.held > (lease.pool.settings.get("pool_size") or lease.pool.held)
            lease.pool.taken += 1

    def checkin(self, lease: Lease, at: int, flags: int = 0) -> None:
        """The connection was given back, or invalidated; at `at` the slot was as good as free."""
        self._begin(lease)
        self._write(lease, Kind.CHECKIN, at, flags, UNKNOWN, UNKNOWN, UNKNOWN, 0, 0)
        end = "cancelled" if flags & CANCELLED else "invalidated" if flags & INVALIDATED else "returned"
        self._end(lease, "abandoned" if flags & ABANDONED else end)

    def detach(self, lease: Lease, at: int, flags: int = 0) -> None:
        """The connection left the pool, at `at` at the latest."""
        self._begin(lease)
        self._write(lease, Kind.DETACH, at, flags, UNKNOWN, 0, lease.connection, 0, 0, 0)
        self._end(lease, "abandoned" if flags & ABANDONED else "detached")

    def refuse(self, lease: Lease, at: int, flags: int, error: str = "") -> None:
        """The request ended without a connection."""
        self._request(lease)
        number = lease.process.error(error)
        self._write(
            lease,
            Kind.REFUSED,
            at,
            flags,
            lease.wait,
            lease.connect,
            lease.ping,
            number,
            UNKNOWN_COUNT,
            min(lease.checked_out, UNKNOWN_COUNT - 1),
        )
        self._end(lease, "timed_out" if flags & TIMED_OUT else "cancelled" if flags & CANCELLED else "failed")

    def leave(self, lease: Lease) -> None:
        """The log ends, and the lease does not."""
        if lease.acquired_at is None:
            self._request(lease)
        else:
            self._begin(lease)
        self._end(lease, "open")

    def lose(self, lease: Lease, at: int | None = None) -> None:
        """The connection was given back, and nobody knows when: it was taken again, or found idle at `at`."""
        self.unclear += 1
        if at is None:
            self._begin(lease)  # analysis sees that the same connection is taken again
        else:
            self._request(lease)  # without a checkout the hold has no length, rather than a wrong one
            self._write(lease, Kind.CHECKIN, at, 0, UNKNOWN, UNKNOWN, UNKNOWN, 0, 0)
        self._end(lease, "returned")

    def release(self, lease: Lease) -> None:
        """The lease is on its way back; how it ends is not known yet."""
        if lease.counted:
            lease.pool.held -= 1
            lease.counted = False

    def orphan(self, process: LogProcess, pool: LogPool, connection: int, at: int, flags: int = 0) -> None:
        """A lease that began before the log did has ended."""
        self.orphans += 1
        lease = Lease(process, pool, process.lease(), 0, at, connection=connection)
        if flags & ABANDONED:
            self._write(lease, Kind.DETACH, at, flags, UNKNOWN, 0, connection, 0, 0, 0)
        else:
            self._write(lease, Kind.CHECKIN, at, flags, UNKNOWN, UNKNOWN, UNKNOWN, 0, 0)
        self.ends["abandoned" if flags & ABANDONED else "invalidated" if flags else "returned"] += 1

    def _request(self, lease: Lease) -> None:
        self._write(
            lease,
            Kind.REQUEST,
            lease.requested_at,
            0 if lease.seen else UNSEEN,
            0,
            lease.who,
            lease.process.context(lease.context),
            0,
            UNKNOWN_COUNT,
            min(lease.checked_out, UNKNOWN_COUNT - 1),
            0,
        )
        if lease.trace:
            low = lease.trace & 0xFFFF_FFFF_FFFF_FFFF
            self._write(lease, Kind.TRACE, lease.requested_at, 0, lease.trace >> 64, low, 0, 0)

    def _begin(self, lease: Lease) -> None:
        self._request(lease)
        at = lease.requested_at if lease.acquired_at is None else lease.acquired_at
        flags = (FRESH if lease.fresh else 0) | (OVERFLOW if lease.overflow else 0)
        self._write(lease, Kind.CHECKOUT, at, flags, lease.wait, lease.connect, lease.ping, lease.connection, 0)

    def _write(self, lease: Lease, kind: Kind, at: int, flags: int, *payload: int) -> None:
        self.records.write(lease.process, kind, at, lease.number, flags, lease.pool, *payload)

    def _end(self, lease: Lease, end: str) -> None:
        self.release(lease)
        self.ends[end] += 1
