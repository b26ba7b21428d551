"""State: what capture remembers between two hooks. Plain data; bounded by the pools and connections that are alive.

No strong reference to anything of the application's: what it drops must be collected as if nobody watched.
"""

from __future__ import annotations

import weakref
from typing import Any


class Lease:
    """One request for a connection until its end. Attributes not set are the class's: most leases set few of them."""

    number: int
    pool: PoolState
    site: int
    requested_at: int
    task: weakref.ref[Any] | None = None
    """The asyncio task that asked."""

    wait: int = 0
    """Nanoseconds inside the pool's `_do_get`, connecting excluded."""
    connect: int = 0
    """Nanoseconds of opening, or closing and reopening, a connection for this request."""
    connect_inside: int = 0
    """The part of `connect` that lies inside `_do_get`."""
    ping: int = 0
    in_get: bool = False
    reached: bool = False
    """Whether the request got as far as `_do_get`: before that, `connect` called again is its own `super()`."""
    fresh: bool = False

    connection: int = 0
    flags: int = 0
    """Of the record that will end it."""
    in_sql: bool = False
    sql: int = 0
    statements: int = 0
    in_transaction: bool = False
    transactions: int = 0
    closing_at: int = 0
    """When the return began, 0 before."""
    sampled: bool = False
    """Whether capture times itself in this lease."""
    guard: weakref.ref[Any] | None = None
    """On a pool that shares its record: tells when the holder was collected."""


class PoolState:
    """One pool. Counts are of what was seen since capture began, plus what the pool had out then."""

    __slots__ = ("checked_out", "deferred", "is_async", "number", "open", "ref", "shared", "size", "waiting", "watched")

    def __init__(self, number: int, ref: weakref.ref[Any]) -> None:
        self.number = number
        self.ref = ref
        self.size = 0
        """pool_size; 0 when the pool has none or is unlimited: then nothing is overflow."""
        self.checked_out = 0
        self.waiting = 0
        self.open = 0
        self.is_async = False
        self.shared = False
        """StaticPool: one record for everybody, so leases are known by their proxy."""
        self.deferred = False
        """SingletonThreadPool: whether a request is one is known only afterwards."""
        self.watched = True


class ConnectionState:
    """One open connection of the driver."""

    __slots__ = ("backend_pid", "closed_at", "inherited", "number", "pool", "ref")

    def __init__(self, number: int, pool: PoolState, backend_pid: int) -> None:
        self.number = number
        self.pool = pool
        self.backend_pid = backend_pid
        self.closed_at = 0
        self.inherited = False
        """It was opened by the parent, before a fork."""
        self.ref: weakref.ref[Any] | None = None
        """To what holds it open; when that is collected, the connection is gone."""
