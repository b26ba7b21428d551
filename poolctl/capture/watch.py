"""Watch: what is known of the pools, connections and leases of this process. The hooks' memory.

In: SQLAlchemy's objects, never changed. Out: records through a `Recorder`. The wrappers in `hooks`, `sql_hooks` and
`connection_hooks` do the frequent things themselves; what is rare, or shared, is here. Whatever these functions raise
is swallowed and counted by their callers.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

from poolctl.capture import facts
from poolctl.capture.canary import Canary
from poolctl.capture.connections import Connections
from poolctl.capture.core import IDLE_WORTH_NS
from poolctl.capture.recorder import SAMPLED, Recorder
from poolctl.capture.sites import place
from poolctl.capture.state import Lease, PoolState
from poolctl.capture.tasks import running_loop
from poolctl.clock import monotonic_ns
from poolctl.trace.events import Flag, Kind
from poolctl.trace.ring import NO_STATEMENT, RESET_WORTH_NS, NoRing

ABANDONED, CONTROL, FRESH = int(Flag.ABANDONED), int(Flag.SKIPPED), int(Flag.FRESH)

_IDLE_PLACES = 1024


class Watch(Connections):
    """Made by `install`; `only(pool)` says which pools are watched, None all."""

    def __init__(self, recorder: Recorder, only: Callable[[Any], bool] | None = None) -> None:
        self._only = only
        super().__init__(recorder)
        self.on_new_pool: list[Callable[[Any], None]] = []
        """Called with each pool at first sight, before anything else is known of it."""
        self.on_sample: list[Callable[[], None]] = []
        """Called now and then, with a lease that is sampled: what must be looked at, and not each time."""
        self.loops: set[int] = set()
        """Event loops that ask for connections, by id; each has a canary."""
        self._stopped = False
        self._idled: set[tuple[int, Any]] = set()
        """(site that holds, place that used the connection again after long)."""
        recorder.followers.append(self.follow)
        recorder.forked.append(self.forget)
        recorder.blocking.append(self.meet_loop)

    @property
    def stopped(self) -> bool:
        """Whether capture has ended."""
        return self._stopped

    def stop(self) -> None:
        """See nothing more. A wrapper that could not be taken off, or that a finalizer keeps, finds nothing to do."""
        self._stopped = True
        for lease in list(self.leases.values()):
            lease.unfold()
            self.flush(lease, monotonic_ns())
        for state in list(self.pools.values()):
            state.watched, state.owner = False, None
        for table in (self.leases, self.returning, self.connections, self.spent):
            table.clear()
        if self.follow in self.recorder.followers:
            self.recorder.followers.remove(self.follow)
        self.follow(NoRing())  # what a finalizer keeps keeps no shared memory, nor writes to a parent's after a fork
        if self.forget in self.recorder.forked:
            self.recorder.forked.remove(self.forget)
        if self.meet_loop in self.recorder.blocking:
            self.recorder.blocking.remove(self.meet_loop)

    def forget(self) -> None:
        """In a forked child: what was held is the parent's; the connections are here, but the parent's too."""
        for table in (self.leases, self.returning, self.pools, self.spent):
            table.clear()
        self.loops.clear()
        self._idled.clear()
        for connection in self.connections.values():
            connection.inherited = connection.news = True

    def meet_loop(self, loop: Any) -> None:
        """A sync pool is asked on this event loop: what it does there, the loop cannot do meanwhile."""
        if id(loop) not in self.loops:
            self.listen(loop)

    def listen(self, loop: Any) -> None:
        """Have an event loop tell when it is late; None: no loop runs here."""
        self.loops.add(id(loop))
        if loop is not None and not self._stopped:
            Canary(loop, self.recorder, lambda: self._stopped, self.flush_idle)

    def pool(self, pool: Any) -> PoolState:
        """Return what is known of a pool; at first sight, ask it."""
        return self.pools.get(id(pool)) or self._meet(pool)

    def _meet(self, pool: Any) -> PoolState:
        for callback in self.on_new_pool:
            callback(pool)
        key, pools = id(pool), self.pools
        state = PoolState(0, weakref.ref(pool, lambda _: pools.pop(key, None)))
        state.watched = not self._stopped and (self._only is None or self._only(pool))
        if state.watched:
            state.owner = next(cls for cls in type(pool).__mro__ if "connect" in vars(cls))
        if not state.watched:
            return pools.setdefault(key, state)
        state.is_async = bool(getattr(pool._dialect, "is_async", False))
        names = [cls.__name__ for cls in type(pool).__mro__]
        state.shared = "StaticPool" in names
        if "QueuePool" in names:
            state.size = (pool.size() if pool._max_overflow >= 0 else 0) or state.size
            state.checked_out = max(0, pool.checkedout())
            state.open = state.checked_out + pool.checkedin()
        state.number = self.recorder.pool(facts.describe_pool(pool, facts.engine_of(pool)))
        state.meta = state.number << 16
        if state.shared:
            self.recorder.tell_blind("StaticPool: one connection for everybody, so overlapping leases share it")
        self.opentelemetry = sys.modules.get("opentelemetry.trace")
        return pools.setdefault(key, state)

    def orphan(self, record: Any) -> Lease | None:
        """The collector brings a record back: return its lease, if it is the one whose proxy died."""
        if record.fairy_ref is None or record.fairy_ref() is not None:
            return None  # an old proxy of a record that somebody else holds by now
        for key in list(self.leases):  # not their items: to make those, the collector may come, and orphan another
            lease = self.leases.get(key)
            if lease is not None and lease.record == id(record) and not lease.pool.shared:
                del self.leases[key]
                lease.unfold()
                lease.flags |= ABANDONED
                return lease
        return None

    def news(self, lease: Lease, fairy: Any) -> int:
        """Look closer at a lease of a connection that has news; return the flags of its CHECKOUT."""
        connection, pool = lease.connection, lease.pool
        flags = 0 if connection.used else FRESH
        connection.used, connection.news = True, pool.shared
        if connection.inherited:
            self.inherited(connection)
        if pool.shared:
            self.guard(lease, fairy)
        if pool.is_async and (loop := running_loop()) is not None and id(loop) not in self.loops:
            self.listen(loop)
        return flags

    def worked(self, lease: Lease, started_at: int, at: int, statement: int, flags: int = 0, why: int = 0) -> None:
        """The database worked for the holder; what waits is written, and this, too. `statement` 0 for a control."""
        lease.unfold()
        unused_since = max(lease.started_at + lease.took, lease.control_at + lease.control_took)
        self.flush(lease, at)
        self._count(lease, at - started_at, flags)
        if started_at - unused_since >= IDLE_WORTH_NS:
            self.idled(lease)
        self.ring.write(
            Kind.STATEMENT, at, lease.number, flags, lease.pool.number, lease.site, started_at, statement, why, 0, 0
        )

    def flush(self, lease: Lease, at: int) -> None:
        """Write the statement and the end of a transaction that wait, of a lease that is not plain.

        Those of a lease's first milliseconds wait for its end, which mostly comes within them: code that runs once
        between two answers of the database finds the caches cold, and one record costs half of two. So they are seen
        with the lease's next record, on an event loop a tick of its canary later, at the latest with its end.
        """
        waiting = [(lease.control_at, lease.control_took, CONTROL, 0)] if lease.control_took else []
        if lease.statement != NO_STATEMENT:
            first = 0 if lease.started_at <= lease.control_at else len(waiting)
            waiting.insert(first, (lease.started_at, lease.took, 0, lease.statement))
        for started_at, took, flags, statement in waiting:
            self._count(lease, took, flags)
            self.ring.write(
                Kind.STATEMENT, started_at + took, lease.number, flags, lease.pool.number, lease.site,
                started_at, statement, 0, 0, 0,
            )  # fmt: skip
        lease.started_at = lease.control_at = at
        lease.took = lease.control_took = 0
        lease.statement = NO_STATEMENT

    def flush_idle(self, loop: Any) -> None:
        """Write what waits of leases of this loop that are idle; called on its thread, so none is in between."""
        now = monotonic_ns()
        for lease in list(self.leases.values()):
            task = lease.task() if lease.task is not None else None
            if not lease.pool.is_async or lease.in_sql or (task is not None and task.get_loop() is not loop):
                continue
            used_at = max(lease.started_at + lease.took, lease.control_at + lease.control_took)
            if (lease.control_took or lease.statement != NO_STATEMENT) and now - used_at >= IDLE_WORTH_NS:
                lease.unfold()
                self.flush(lease, used_at)

    def _count(self, lease: Lease, took: int, flags: int) -> None:
        lease.sql += took
        if not flags & CONTROL:
            lease.statements += 1
            lease.in_transaction = True
        elif lease.in_transaction:
            lease.in_transaction = False
            lease.transactions += 1

    def end(self, lease: Lease, at: int) -> None:
        """The slot of a lease is free since `at`: write what waits, and how it ended."""
        lease.pool.checked_out -= 1  # whatever comes in between
        lease.unfold()
        self.flush(lease, at)
        ring, number, pool, site, closing_at = (
            self.ring, lease.number, lease.pool, lease.site, lease.closing_at,
        )  # fmt: skip
        reset = lease.reset
        if reset >= RESET_WORTH_NS:
            ring.write(Kind.RESET, closing_at + reset, number, 0, pool.number, site, closing_at, 0, 0, 0)
        transactions = lease.transactions + (reset > 0 and lease.in_transaction)
        ring.write(
            Kind.CHECKIN, at, number, lease.flags, pool.number, site,
            lease.sql, reset, at - closing_at, lease.statements, transactions,
        )  # fmt: skip

    def idled(self, lease: Lease) -> None:
        """The connection was held for long and not used, until the code that runs now: name the line, once."""
        frame = self.recorder.walker.find(lease.pool.is_async)
        if frame is None or len(self._idled) >= _IDLE_PLACES:
            return
        if str(frame.f_globals.get("__name__")).startswith("poolctl."):  # a load commits what a transaction left open
            return
        where = (lease.site, place(frame))
        if where not in self._idled:
            self._idled.add(where)
            file, line, function = where[1]
            self.recorder.note(
                {"kind": "idle", "n": len(self._idled), "site": lease.site, "until": [file, line, function]}
            )

    def detach(self, lease: Lease, at: int) -> None:
        """The connection left the pool with its holder; the slot is free since `at`."""
        lease.unfold()
        lease.detached = True
        lease.pool.checked_out -= 1
        self.flush(lease, at)
        self.ring.words(
            at,
            lease.number,
            lease.meta | lease.flags << 8 | Kind.DETACH,
            lease.sql,
            0,
            lease.connection.number | lease.statements << 32,
            lease.transactions,
        )

    def guard(self, lease: Lease, fairy: Any) -> None:
        """On a shared record only the proxy's death tells that its holder dropped it."""
        key = id(fairy)

        def collected(_: Any) -> None:
            try:
                if self.leases.get(key) is lease:
                    del self.leases[key]
                    lease.unfold()
                    lease.flags |= ABANDONED
                    lease.closing_at = monotonic_ns()
                    self.end(lease, lease.closing_at)
            except Exception:
                self.recorder.count_error()

        lease.guard = weakref.ref(fairy, collected)

    def trace(self, lease: Lease) -> None:
        """Record the OpenTelemetry span in which a request is made. The application imported it, or it is not here."""
        try:
            span = self.opentelemetry.get_current_span().get_span_context()
            if span.is_valid:
                high, low = span.trace_id >> 64, span.trace_id & 0xFFFFFFFFFFFFFFFF
                self.ring.write(
                    Kind.TRACE, lease.requested_at, lease.number, 0, lease.pool.number, lease.site,
                    high, low, span.span_id, 0,
                )  # fmt: skip
        except Exception:  # the request is told already: its answer must be, too
            self.recorder.count_error()

    def begin_sample(self, since: int) -> None:
        """A lease begins in which capture times itself."""
        try:
            self.ring.counters[SAMPLED] += 1
            self.overhead(since)
            for callback in self.on_sample:
                callback()
        except Exception:
            self.recorder.count_error()
