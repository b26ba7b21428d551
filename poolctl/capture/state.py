"""State: what capture remembers between two hooks. Plain data; bounded by the pools and connections that are alive.
Compiled where that can be (`poolctl.uncompiled`).

No strong reference to anything of the application's: what it drops must be collected as if nobody watched.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

from poolctl.trace.ring import NO_STATEMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import cython
else:
    from poolctl import uncompiled as cython


class Lease:
    """A request for a connection, and then the connection that somebody holds. Made by `blank`.

    A `plain` one needs no more than what the first lines of slots say: at most one statement and one end of a
    transaction, which wait here for the record of its end. The other slots are filled when it ceases to be (`unfold`).
    """

    # Slots, and no defaults on the class: only so does CPython find an attribute without a search.
    __slots__ = (
        "asked_by",
        "began_at",
        "closing_at",
        "connection",
        "context",
        "control_at",
        "control_took",
        "detached",
        "flags",
        "guard",
        "held",
        "in_sql",
        "in_transaction",
        "number",
        "opened",
        "plain",
        "pool",
        "requested_at",
        "reset",
        "returned_at",
        "sampled",
        "site",
        "sql",
        "started_at",
        "statement",
        "statements",
        "task",
        "told",
        "took",
        "transactions",
        "waiting",
    )

    number: int
    pool: PoolState
    site: int
    requested_at: int
    asked_by: int
    """A number of the task that asked, or of the thread."""
    context: int
    waiting: int
    held: int
    opened: int
    """What the pool had waiting, checked out and open when it was asked."""
    told: bool
    """Whether the request was written, before its answer."""
    connection: ConnectionState
    task: weakref.ref[Any] | None
    """The asyncio task that asked."""
    began_at: int
    """When the database was given what it does now (`in_sql`)."""
    plain: bool
    in_sql: bool
    statement: int
    """Number of the statement that waits to be written; NO_STATEMENT when none does."""
    started_at: int
    """Of that statement. Without one: when the last record was written."""
    took: int
    control_at: int
    """When the commit or rollback began that waits to be written. Without one: as `started_at`."""
    control_took: int
    """0 when none waits."""
    sql: int
    """Nanoseconds of what does not wait: written already, or not worth a record."""
    closing_at: int
    """When the return began, 0 before."""
    reset: int
    """From there to the end of the reset on return, 0 without one."""
    sampled: bool
    """Whether capture times itself in this lease."""
    returned_at: int
    """When the slot became free, 0 where that is not known better than by the end of the return. Set by the return."""
    guard: weakref.ref[Any]
    """On a pool that shares its record: tells when the holder was collected."""
    flags: int
    """Of the record that will end it. From here on: of one that is no longer plain."""
    statements: int
    """Those that were written."""
    transactions: int
    in_transaction: bool
    detached: bool

    @property
    def record(self) -> int:
        """id of SQLAlchemy's record."""
        return self.connection.record

    @property
    def meta(self) -> int:
        """pool << 16 | site << 32: with the kind and the flags, the third word of a record (`RingWriter.words`)."""
        return self.pool.meta | self.site << 32

    def unfold(self) -> None:
        """Make room for what does not fit into the record of a plain end."""
        if self.plain:
            self.plain = False
            self.flags = self.statements = self.transactions = 0
            self.in_transaction = self.detached = False


def blank() -> Lease:
    """Return a lease of which nothing is known yet."""
    lease = Lease()
    lease.statement = NO_STATEMENT
    lease.plain = True
    lease.task = None
    if not cython.compiled:  # C's begin as zeros
        lease.told = lease.in_sql = lease.sampled = False
        lease.context = lease.took = lease.control_took = lease.sql = lease.reset = lease.closing_at = 0
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
        self.size = sys.maxsize
        """pool_size; without limit when the pool has none or is unlimited: then nothing is overflow."""
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

    __slots__ = ("backend_pid", "inherited", "news", "number", "pool", "record", "ref", "used", "word")

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
        self.news = True
        """Whether the next checkout must look closer: it is the first, or the pool shares it, or it is inherited."""
        self.ref: weakref.ref[Any] | None = None
        """To what holds it open; when that is collected, the connection is gone."""
