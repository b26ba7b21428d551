"""Watch: turns what the hooks see into leases. The heart of capture.

In: calls from the wrapped methods (`hooks`). Out: records through a `Recorder`. Knows SQLAlchemy's objects, never
changes one. Each request ends exactly once: by `refuse`, by `give_back`, by `detach`; or it stays open.

The application's thread is inside every one of these functions. Whatever they raise is swallowed and counted by
`hooks`; an interrupt (KeyboardInterrupt) is the application's and passes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar, Token
from threading import get_ident
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from poolctl.capture import facts
from poolctl.capture.recorder import LEASES, OVERHEAD, SAMPLED, Recorder
from poolctl.capture.scope import current as current_scope
from poolctl.capture.state import ConnectionState, Lease, PoolState
from poolctl.clock import monotonic_ns
from poolctl.trace.events import Flag, Kind

OVERFLOW, FRESH, TIMED_OUT, CANCELLED, ERROR = (
    int(flag) for flag in (Flag.OVERFLOW, Flag.FRESH, Flag.TIMED_OUT, Flag.CANCELLED, Flag.ERROR)
)
INVALIDATED, ABANDONED, CONTROL = int(Flag.INVALIDATED), int(Flag.ABANDONED), int(Flag.SKIPPED)

RESET_WORTH_NS = 20_000
"""A reset shorter than this gets no record of its own; the CHECKIN carries its time anyway."""
FETCH_WORTH_NS = 20_000
"""The same for a fetch; it is in the lease's sql time anyway."""
_SAMPLE_MASK = 63
"""Capture times itself in one lease of 64."""

request_now: ContextVar[Lease | None] = ContextVar("poolctl_request", default=None)
"""The request that the running code is working for, between `Pool.connect` and its return."""


class Watch:
    """What is known of the pools, connections and leases of this process."""

    def __init__(self, recorder: Recorder, only: Callable[[Any], bool] | None = None) -> None:
        self.recorder = recorder
        self._only = only
        self.pools: dict[int, PoolState] = {}
        self.connections: dict[int, ConnectionState] = {}
        """By the id of the driver's connection object."""
        self.leases: dict[int, Lease] = {}
        """Those that hold, by the id of SQLAlchemy's record; of the proxy on a pool that shares its record."""
        self.on_new_pool: list[Any] = []
        """Called with each pool at first sight, before anything else is known of it."""
        self._otel: Any = None
        self._stopped = False
        recorder.forked.append(self.forget)

    def stop(self) -> None:
        """See nothing more. A wrapper of ours that could not be taken off, or that a finalizer keeps, finds nothing to do."""
        self._stopped = True
        for state in list(self.pools.values()):
            state.watched = False
        self.leases.clear()
        self.connections.clear()
        if self.forget in self.recorder.forked:
            self.recorder.forked.remove(self.forget)

    def forget(self) -> None:
        """In a forked child: what was held is the parent's; the connections are here, but the parent's too."""
        self.leases.clear()
        self.pools.clear()
        for connection in self.connections.values():
            connection.inherited = True

    def pool(self, pool: Any) -> PoolState:
        """Return what is known of a pool, at first sight what it says about itself."""
        state = self.pools.get(id(pool))
        return state if state is not None else self._meet(pool)

    def _meet(self, pool: Any) -> PoolState:
        for callback in self.on_new_pool:
            callback(pool)
        key, pools = id(pool), self.pools
        state = PoolState(0, weakref.ref(pool, lambda _: pools.pop(key, None)))
        names = {cls.__name__ for cls in type(pool).__mro__}
        state.shared = "StaticPool" in names
        state.deferred = "SingletonThreadPool" in names
        state.watched = not self._stopped and (self._only is None or self._only(pool))
        if not state.watched:
            return pools.setdefault(key, state)
        state.is_async = bool(getattr(pool._dialect, "is_async", False))
        if "QueuePool" in names:
            state.size = pool.size() if getattr(pool, "_max_overflow", -1) >= 0 else 0
            state.checked_out = max(0, pool.checkedout())
            state.open = state.checked_out + pool.checkedin()
        state.number = self.recorder.pool(facts.describe_pool(pool, facts.engine_of(pool)))
        if state.shared:
            self.recorder.tell_blind("StaticPool: one connection for everybody, so overlapping leases share it")
        self._otel = sys.modules.get("opentelemetry.trace")
        return pools.setdefault(key, state)

    # A request, from `Pool.connect` to its answer.

    def begin(self, pool: Any, depth: int) -> tuple[Lease, Token[Lease | None]] | None:
        """A request begins; None when this call is none of its own. `depth` frames above the caller is who asked."""
        now = monotonic_ns()
        state = self.pools.get(id(pool)) or self._meet(pool)
        outer = request_now.get()
        if not state.watched or (outer is not None and outer.pool is state and not outer.reached):
            return None  # a subclass's connect() that has come to its super()
        recorder = self.recorder
        lease = Lease()
        lease.number = number = recorder.lease_number()
        lease.pool = state
        lease.requested_at = now
        intended_at = context = item = 0
        scope = current_scope.get()
        if scope is None:
            lease.site = site = recorder.site(depth + 1)
        else:
            site = recorder.site(depth + 1) if scope.site is None else recorder.site_of(scope.site)
            lease.site = site
            context = recorder.context(scope.name)
            item = scope.item
            intended_at = scope.intended_at
        if state.is_async and (task := _current_task()) is not None:
            lease.task = weakref.ref(task)
            who = id(task)
        else:
            who = get_ident()
        if not state.deferred:
            recorder.ring.request(
                now,
                number,
                state.number,
                site,
                intended_at,
                who,
                context,
                item,
                _u16(state.waiting),
                _u16(state.checked_out),
                state.open,
            )
            if self._otel is not None:
                self._trace(lease)
        recorder.ring.counters[LEASES] = number
        token = request_now.set(lease)
        if not number & _SAMPLE_MASK:
            lease.sampled = True
            recorder.ring.counters[SAMPLED] += 1
            self.overhead(now)
        return lease, token

    def acquire(self, lease: Lease, fairy: Any) -> None:
        """The request was answered with a connection."""
        now = monotonic_ns()
        state = lease.pool
        if state.deferred and not self._begin_late(lease, fairy):
            return
        record = fairy._connection_record
        connection = self.connections.get(id(fairy.dbapi_connection))
        if connection is not None:
            lease.connection = connection.number
            pid = connection.backend_pid
            if connection.inherited:
                self._inherited(connection)
        else:
            pid = 0
        state.checked_out = held = state.checked_out + 1
        flags = FRESH if lease.fresh else 0
        if held > state.size > 0:
            flags |= OVERFLOW
        if state.shared:
            key = id(fairy)
            lease.guard = weakref.ref(fairy, lambda _: self._collected(key, lease))
            self.leases[key] = lease
        else:
            self.leases[id(record)] = lease
        wait = lease.wait - lease.connect_inside
        self.recorder.ring.checkout(
            now,
            lease.number,
            flags,
            state.number,
            lease.site,
            wait if wait > 0 else 0,
            lease.connect,
            lease.ping,
            lease.connection,
            pid,
        )
        if lease.sampled:
            self.overhead(now)

    def refuse(self, lease: Lease, error: BaseException) -> None:
        """The request ends without a connection."""
        now = monotonic_ns()
        if isinstance(error, PoolTimeoutError):
            flags = TIMED_OUT
        elif not isinstance(error, Exception):  # CancelledError, GreenletExit, GeneratorExit, KeyboardInterrupt
            flags = CANCELLED
        else:
            flags = ERROR
        state = lease.pool
        if state.deferred:
            self._request_late(lease)
        self.recorder.ring.write(
            Kind.REFUSED,
            now,
            lease.number,
            flags,
            state.number,
            lease.site,
            max(0, lease.wait - lease.connect_inside),
            lease.connect,
            lease.ping,
            self.recorder.error(error),
            _u16(state.waiting),
            _u16(state.checked_out),
        )

    # The end of a lease.

    def closing(self, record: Any, fairy_given: bool) -> None:
        """`_finalize_fairy` begins: a return, an invalidation's end, or the collector at work."""
        lease = self.leases.get(id(record))
        if lease is None or lease.closing_at:
            return
        if not fairy_given:
            ref = record.fairy_ref
            if ref is None or ref() is not None:
                return  # an old proxy of a record that somebody else holds by now
            lease.flags |= ABANDONED
        lease.closing_at = monotonic_ns()

    def take(self, key: int) -> Lease | None:
        """The lease with this key is over; return it to whoever comes first."""
        lease = self.leases.pop(key, None)
        if lease is not None:
            lease.pool.checked_out -= 1
            task = lease.task() if lease.task is not None else None
            if task is not None and task.cancelling():
                lease.flags |= CANCELLED
        return lease

    def give_back(self, lease: Lease, started_at: int, at: int) -> None:
        """The slot is free again since `at`; the pool was told at `started_at`."""
        state, ring = lease.pool, self.recorder.ring
        closing_at = lease.closing_at or started_at
        reset = started_at - closing_at
        if reset >= RESET_WORTH_NS:
            ring.write(Kind.RESET, started_at, lease.number, 0, state.number, lease.site, closing_at, 0, 0, 0)
        ring.checkin(
            at,
            lease.number,
            lease.flags,
            state.number,
            lease.site,
            lease.sql,
            reset,
            at - closing_at,
            lease.statements,
            lease.transactions,
        )
        if lease.sampled:
            self.overhead(max(at, started_at))

    def detach(self, lease: Lease, at: int) -> None:
        """The connection left the pool with its holder; the slot is free since `at`."""
        self.recorder.ring.write(
            Kind.DETACH,
            at,
            lease.number,
            lease.flags,
            lease.pool.number,
            lease.site,
            lease.sql,
            0,
            lease.connection,
            lease.statements,
            lease.transactions,
            0,
        )

    def _collected(self, key: int, lease: Lease) -> None:
        """On a shared record, the proxy died without a return."""
        try:
            if self.leases.get(key) is lease and self.take(key) is lease:
                lease.flags |= ABANDONED
                now = monotonic_ns()
                self.give_back(lease, now, now)
        except Exception:
            self.recorder.count_error()

    # Connections.

    def connected(self, record: Any, pool: Any, started_at: int, error: BaseException | None) -> None:
        """A connection was opened for the present request, or could not be."""
        now = monotonic_ns()
        state = self.pool(pool)
        lease = request_now.get()
        took = now - started_at
        if lease is not None:
            lease.connect += took
            if lease.in_get:
                lease.connect_inside += took
                state.waiting += 1
        dbapi_connection = record.dbapi_connection
        number = pid = 0
        if error is None and dbapi_connection is not None:
            number = self.recorder.connection_number() & 0xFFFFFFFF
            try:
                pid = facts.backend_pid(pool, dbapi_connection)
            except Exception:
                self.recorder.count_error()
            connection = ConnectionState(number, state, pid)
            self.connections[id(dbapi_connection)] = connection
            self.tie(connection, record, id(dbapi_connection))
            state.open += 1
            if lease is not None:
                lease.fresh = True
        self.recorder.ring.write(
            Kind.CONNECT,
            now,
            lease.number if lease is not None else 0,
            0 if error is None else ERROR,
            state.number,
            lease.site if lease is not None else 0,
            took,
            0,
            number,
            pid,
            0 if error is None else self.recorder.error(error),
            max(0, state.open),
        )

    def tie(self, connection: ConnectionState, owner: Any, key: int) -> None:
        """The connection lives as long as `owner`: when that is collected, nobody can close it any more."""
        connection.ref = weakref.ref(owner, lambda _: self._dropped(key, connection))

    def _dropped(self, key: int, connection: ConnectionState) -> None:
        try:
            if self.connections.get(key) is connection:
                self.closed(key, monotonic_ns())
        except Exception:
            self.recorder.count_error()

    def closed(self, key: int, started_at: int) -> None:
        """The driver's connection with id `key` was closed."""
        now = monotonic_ns()
        lease = request_now.get()
        if lease is not None:
            lease.connect += now - started_at  # closing the old one is a part of recycling
            if lease.in_get:
                lease.connect_inside += now - started_at
        connection = self.connections.pop(key, None)
        if connection is None:
            return
        connection.closed_at = now
        connection.ref = None
        state = connection.pool
        state.open -= 1
        self.recorder.ring.write(
            Kind.CLOSE, now, 0, 0, state.number, 0, now - started_at, 0, connection.number, max(0, state.open), 0
        )

    def invalidated(self, record: Any, error: BaseException | None) -> None:
        """A record's connection is about to be invalidated."""
        lease = self.leases.get(id(record))
        if lease is None and record.fairy_ref is not None:
            lease = self.leases.get(id(record.fairy_ref()))
        if lease is not None:
            lease.flags |= INVALIDATED
        connection = self.connections.get(id(record.dbapi_connection))
        asking = lease or request_now.get()
        self.recorder.ring.write(
            Kind.INVALIDATE,
            monotonic_ns(),
            asking.number if asking is not None else 0,
            0 if error is None else ERROR,
            connection.pool.number if connection is not None else 0,
            asking.site if asking is not None else 0,
            0,
            0,
            connection.number if connection is not None else 0,
            0 if error is None else self.recorder.error(error),
            0,
        )

    # The database at work.

    def worked(
        self, lease: Lease, started_at: int, ended_at: int, text: Any, error: BaseException | None, control: bool
    ) -> None:
        """The database worked for the holder; `control`: a commit or a rollback."""
        flags = CONTROL if control else 0
        number = 0
        if error is not None:
            flags |= ERROR
            number = self.recorder.error(error)
            if isinstance(error, asyncio.CancelledError):
                lease.flags |= CANCELLED
        if control:
            if lease.in_transaction:
                lease.transactions += 1
                lease.in_transaction = False
            if lease.closing_at:
                return  # the reset: it has its own time
        else:
            lease.statements += 1
            lease.in_transaction = True
        lease.sql += ended_at - started_at
        self.recorder.ring.statement(
            ended_at,
            lease.number,
            flags,
            lease.pool.number,
            lease.site,
            started_at,
            0 if text is None else self.recorder.statement(text),
            number,
        )
        if lease.sampled:
            self.overhead(ended_at)

    def fetched(self, lease: Lease, started_at: int) -> None:
        """Rows were fetched for the holder since `started_at`."""
        now = monotonic_ns()
        lease.sql += now - started_at
        if now - started_at >= FETCH_WORTH_NS:
            self.recorder.ring.write(
                Kind.FETCH, now, lease.number, 0, lease.pool.number, lease.site, started_at, 0, 0, 0
            )

    def overhead(self, since: int) -> None:
        """Count the time since then as capture's own."""
        self.recorder.ring.counters[OVERHEAD] += monotonic_ns() - since

    # Rare matters.

    def _begin_late(self, lease: Lease, fairy: Any) -> bool:
        """SingletonThreadPool: say that it was a request, unless the thread's own proxy was entered once more."""
        if fairy._counter != 1:
            return False
        self._request_late(lease)
        return True

    def _request_late(self, lease: Lease) -> None:
        state = lease.pool
        self.recorder.ring.request(
            lease.requested_at,
            lease.number,
            state.number,
            lease.site,
            0,
            get_ident(),
            0,
            0,
            0,
            0,
            _u16(state.checked_out),
            state.open,
        )

    def _inherited(self, connection: ConnectionState) -> None:
        connection.inherited = False
        self.recorder.note({"kind": "inherited", "connection": connection.number, "pid": os.getpid()})

    def _trace(self, lease: Lease) -> None:
        """Record the OpenTelemetry span in which the request is made. The application imported it, or it is not here."""
        span = self._otel.get_current_span().get_span_context()
        if span.is_valid:
            self.recorder.ring.write(
                Kind.TRACE,
                lease.requested_at,
                lease.number,
                0,
                lease.pool.number,
                lease.site,
                span.trace_id >> 64,
                span.trace_id & 0xFFFFFFFFFFFFFFFF,
                span.span_id,
                0,
            )


def _u16(count: int) -> int:
    return count if 0 <= count < 65536 else 0 if count < 0 else 65535


def _current_task() -> Any:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no running loop
        return None
