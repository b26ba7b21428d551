"""Hooks: the wrappers around the pool's own methods. Each calls the original exactly once, whatever else happens.

In: a `Watch`. Out: for each method a function that makes the wrapper for a given original of a given class. What the
original raises passes; what we raise is counted and forgotten; an interrupt (KeyboardInterrupt) is the application's.

Each request ends exactly once: in `connect` when it fails, in `finalize` when its proxy goes back, in
`connection_hooks.detach` when it leaves the pool; or it stays open. These run at every checkout, with cold caches:
they are flat, and make few objects. Of what a function here costs in an application, most is that it is another one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from threading import get_ident
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from poolctl.capture.connections import WAIT_WORTH_NS
from poolctl.capture.recorder import SAMPLED
from poolctl.capture.scope import current as current_scope
from poolctl.capture.state import Lease, PoolState
from poolctl.capture.tasks import current_task, running, running_loop
from poolctl.capture.watch import Watch
from poolctl.clock import monotonic_ns
from poolctl.trace.events import Flag, Kind
from poolctl.trace.ring import SAMPLE_EVERY

Wrap = Callable[[Watch, Callable[..., Any], Any], Callable[..., Any]]

CANCELLED, ERROR, FRESH, OVERFLOW, TIMED_OUT = (
    int(flag) for flag in (Flag.CANCELLED, Flag.ERROR, Flag.FRESH, Flag.OVERFLOW, Flag.TIMED_OUT)
)
_REQUEST, _CHECKOUT = int(Kind.REQUEST), int(Kind.CHECKOUT)

_SAMPLE_MASK = SAMPLE_EVERY - 1


def connect(watch: Watch, original: Callable[..., Any], owner: Any) -> Callable[..., Any]:  # noqa: C901 - see above
    """`Pool.connect`, and each class's that overrides it: the request, and its answer.

    A class's override may come to its super: only the outermost is the request (`PoolState.owner`).
    """
    recorder, pools, leases, connections = watch.recorder, watch.pools, watch.leases, watch.connections
    loops = watch.loops
    next_number, site_of_asker, spent, failed = recorder.lease_number, recorder.site, watch.spent, recorder.count_error

    def connect(self: Any) -> Any:  # noqa: C901 - each call less is a hundredth of a `select 1`
        number = 0
        try:
            requested_at = monotonic_ns()
            state = pools.get(id(self)) or watch.pool(self)
            if state.owner is owner:
                if state.is_async:
                    loop = running_loop()
                    task = running.get(loop) or current_task()
                    if id(loop) not in loops:
                        watch.listen(loop)
                else:
                    task = None
                who = get_ident() if task is None else id(task)
                scope = current_scope.get()
                if scope is None:
                    site = site_of_asker(state.is_async)
                    intended_at = context = item = 0
                else:
                    site = recorder.site_of(scope.site) if scope.site is not None else site_of_asker(state.is_async)
                    intended_at, context, item = scope.intended_at, recorder.context(scope.name), scope.item
                waiting, held, opened = state.waiting, state.checked_out, state.open
                lease_number = next_number()
                told = opened <= held  # nothing idle: it may take long, so say now that it began
                if told:
                    recorder.ring.write(
                        _REQUEST, requested_at, lease_number, 0, state.number, site,
                        intended_at, who, context, item, waiting, held, opened if opened > 0 else 0,
                    )  # fmt: skip
                number = lease_number
                if watch.opentelemetry is not None:
                    watch.trace(number, requested_at, state, site)
                if not number & _SAMPLE_MASK:
                    recorder.ring.counters[SAMPLED] += 1
                    watch.overhead(requested_at)
        except Exception:
            failed()
        if not number:
            return original(self)
        try:
            fairy = original(self)
        except BaseException as error:
            try:
                if not told:
                    recorder.ring.write(
                        _REQUEST, requested_at, number, 0, state.number, site,
                        intended_at, who, context, item, waiting, held, opened if opened > 0 else 0,
                    )  # fmt: skip
                _refuse(watch, state, number, site, requested_at, error)
            except Exception:
                failed()
            raise
        try:
            acquired_at = monotonic_ns()
            record = fairy._connection_record
            lease = Lease()
            lease.number = number
            lease.pool = state
            lease.site = site
            lease.record = id(record)
            lease.task = None if task is None else weakref.ref(task)
            lease.written_at = acquired_at
            lease.pending = []
            lease.flags = lease.sql = lease.statements = lease.transactions = 0
            lease.closing_at = lease.reset_at = lease.returned_at = 0
            lease.in_sql = lease.in_transaction = lease.detached = False
            lease.guard = None
            wait = dial = ping = flags = 0
            if spent and (note := spent.pop(id(record), None)) is not None:
                wait, dial, ping = watch.settle(note, requested_at, number, state, site)
            connection = connections.get(id(fairy.dbapi_connection)) or watch.found(record, state)
            lease.connection = connection.number
            if not connection.used:
                connection.used = True
                flags = FRESH
            if connection.inherited:
                watch.inherited(connection)
            state.checked_out = out = state.checked_out + 1
            if out > state.size > 0:
                flags |= OVERFLOW
            if told:
                recorder.ring.write(
                    _CHECKOUT, acquired_at, number, flags, state.number, site,
                    wait, dial, ping, connection.number, connection.backend_pid,
                )  # fmt: skip
            else:
                recorder.ring.acquired(
                    number, state.number, site,
                    requested_at, intended_at, who, context, item, waiting, held, opened,
                    acquired_at, flags, wait, dial, ping, connection.number, connection.backend_pid,
                )  # fmt: skip
            leases[id(fairy)] = lease
            if state.shared:
                watch.guard(lease, fairy)
            lease.sampled = not number & _SAMPLE_MASK
            if lease.sampled:
                watch.overhead(acquired_at)
        except Exception:
            failed()
        return fairy

    return connect


def connect_singleton(watch: Watch, original: Callable[..., Any], owner: Any) -> Callable[..., Any]:
    """`SingletonThreadPool.connect`: hands the thread's own proxy out once more while it lives; that is no request."""
    request = connect(watch, original, owner)

    def connect_singleton(self: Any) -> Any:
        try:
            mine = self._fairy.current()
        except Exception:
            mine = None
        return request(self) if mine is None else original(self)

    return connect_singleton


def do_get(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`QueuePool._do_get`: the wait for a slot. It may call itself, a subclass's its super: the outermost counts."""
    pools, spent, failed = watch.pools, watch.spent, watch.recorder.count_error

    def _do_get(self: Any) -> Any:
        state = pools.get(id(self))
        if state is None:
            return original(self)
        state.waiting += 1
        started_at = monotonic_ns()
        try:
            record = original(self)
        except BaseException as error:
            state.waiting -= 1
            try:
                watch.spend(id(error), started_at).wait = monotonic_ns() - started_at
            except Exception:
                failed()
            raise
        took = monotonic_ns() - started_at
        state.waiting -= 1
        if took >= WAIT_WORTH_NS or spent:
            try:
                note = watch.spend(id(record), started_at)
                note.wait = took if took >= WAIT_WORTH_NS else 0
                note.got_at = started_at + took
            except Exception:
                failed()
        return record

    return _do_get


def _refuse(watch: Watch, state: PoolState, number: int, site: int, requested_at: int, error: BaseException) -> None:
    """The request ends without a connection."""
    now = monotonic_ns()
    if isinstance(error, PoolTimeoutError):
        flags = TIMED_OUT
    elif isinstance(error, Exception):
        flags = ERROR
    else:  # CancelledError, GreenletExit, GeneratorExit, KeyboardInterrupt
        flags = CANCELLED
    note = watch.spent.pop(id(error), None)
    wait, dial, ping = (0, 0, 0) if note is None else watch.settle(note, requested_at, number, state, site)
    why = watch.recorder.error(error)
    watch.recorder.ring.write(
        Kind.REFUSED, now, number, flags, state.number, site,
        wait, dial, ping, why, max(0, state.waiting), max(0, state.checked_out),
    )  # fmt: skip
