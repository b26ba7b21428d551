"""State: what capture remembers between two hooks. Plain data; bounded by the pools and connections that are alive.

No strong reference to anything of the application's: what it drops must be collected as if nobody watched.
"""

from __future__ import annotations

import weakref
from typing import Any


class Lease:
    """A connection that somebody holds."""

    # Slots, and no defaults on the class: only so does CPython find an attribute without a search.
    __slots__ = (
        "closing_at",
        "connection",
        "detached",
        "flags",
        "guard",
        "in_sql",
        "in_transaction",
        "number",
        "pending",
        "pool",
        "record",
        "reset_at",
        "returned_at",
        "sampled",
        "site",
        "sql",
        "statements",
        "task",
        "transactions",
        "written_at",
    )

    number: int
    pool: PoolState
    record: int
    """id of SQLAlchemy's record."""
    site: int
    task: weakref.ref[Any] | None
    """The asyncio task that asked."""
    connection: int
    flags: int
    """Of the record that will end it, << 8."""
    in_sql: bool
    in_transaction: bool
    sql: int
    statements: int
    transactions: int
    pending: list[int]
    """Fields of STATEMENT records not yet written (`RingWriter.end`)."""
    written_at: int
    """When the last of this lease's records was written."""
    closing_at: int
    """When the return began, 0 before."""
    reset_at: int
    """When the reset on return ended, 0 without one."""
    returned_at: int
    """When the slot became free, where that is known better than by the end of the return."""
    sampled: bool
    """Whether capture times itself in this lease."""
    detached: bool
    guard: weakref.ref[Any] | None
    """On a pool that shares its record: tells when the holder was collected."""

    @property
    def meta(self) -> int:
        """pool << 16 | site << 32: with the kind and the flags, the fourth word of a record (`RingWriter.words`)."""
        return self.pool.meta | self.site << 32


def begin(number: int, pool: PoolState, site: int, record: int, at: int) -> Lease:
    """Return a lease that began at `at`, nothing done with it yet. (The hook of `connect` does this line by line.)"""
    lease = Lease()
    lease.number, lease.pool, lease.site, lease.record, lease.written_at = number, pool, site, record, at
    lease.task = lease.guard = None
    lease.in_sql = lease.in_transaction = lease.sampled = lease.detached = False
    lease.connection = lease.flags = lease.sql = lease.statements = lease.transactions = 0
    lease.closing_at = lease.reset_at = lease.returned_at = 0
    lease.pending = []
    return lease


class Spent:
    """Where the time of a request went, before it is known whose request it is. Nanoseconds."""

    __slots__ = ("at", "closing", "closing_at", "connect", "got_at", "inside", "opened", "ping", "wait")

    def __init__(self, at: int) -> None:
        self.at = at
        """When it was noted: an older one, left behind by an accident, is nobody's."""
        self.wait = 0
        """Inside `_do_get`, connecting included."""
        self.connect = 0
        """Opening connections."""
        self.closing = 0
        """Closing the one that was replaced, if that began (`closing_at`) within the request."""
        self.closing_at = 0
        self.got_at = 0
        """When `_do_get` was done: before that, others may have closed the connection."""
        self.inside = 0
        """The part of `connect` that lies inside `_do_get`."""
        self.ping = 0
        self.opened: list[tuple[int, int, int, int]] = []
        """Connections opened, or not: at, time, connection | backend pid << 32, error | open << 32."""


class PoolState:
    """One pool. Counts are of what was seen since capture began, plus what the pool had out then."""

    __slots__ = (
        "checked_out",
        "is_async",
        "meta",
        "number",
        "open",
        "owner",
        "ref",
        "shared",
        "size",
        "waiting",
        "watched",
    )

    def __init__(self, number: int, ref: weakref.ref[Any] | None) -> None:
        self.number = number
        self.ref = ref
        self.size = 0
        """pool_size; 0 when the pool has none or is unlimited: then nothing is overflow."""
        self.checked_out = 0
        self.waiting = 0
        self.open = 0
        self.is_async = False
        self.shared = False
        """StaticPool: one record for everybody."""
        self.owner: Any = None
        """The class whose `connect` is called first; None when the pool is not watched."""
        self.meta = number << 16
        """See `Lease.meta`."""
        self.watched = True


class ConnectionState:
    """One open connection of the driver."""

    __slots__ = ("backend_pid", "inherited", "number", "pool", "record", "ref", "used", "word")

    def __init__(self, number: int, pool: PoolState, backend_pid: int, record: int) -> None:
        self.number = number
        self.pool = pool
        self.backend_pid = backend_pid
        self.record = record
        """id of the record it was opened for."""
        self.word = number | backend_pid << 32
        """The last word of a CHECKOUT record."""
        self.used = False
        """Whether anybody had it yet."""
        self.inherited = False
        """It was opened by the parent, before a fork."""
        self.ref: weakref.ref[Any] | None = None
        """To what holds it open; when that is collected, the connection is gone."""
