"""Hooks: the wrappers around the pool's own methods. Each calls the original exactly once, whatever else happens.

In: a `Watch`. Out: for each method a function that makes the wrapper for a given original of a given class. What the
original raises passes; what we raise is counted and forgotten; an interrupt (KeyboardInterrupt) is the application's.

Each request ends exactly once: in `connect` when it fails, in `finalize` when its proxy goes back, in
`connection_hooks.detach` when it leaves the pool; or it stays open. These run at every checkout, with cold caches:
they are flat, and make few objects. Of what a function here costs in an application, most is that it is another one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from threading import get_ident
from typing import Any
from weakref import ref

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from poolctl.capture.connections import WAIT_WORTH_NS
from poolctl.capture.scope import current as current_scope
from poolctl.capture.state import Lease, PoolState
from poolctl.capture.tasks import running, running_task
from poolctl.capture.watch import Watch
from poolctl.clock import monotonic_ns
from poolctl.trace.events import Flag, Kind
from poolctl.trace.ring import ACQUIRED, NO_STATEMENT, PACK_ACQUIRED, SAMPLE_EVERY

Wrap = Callable[[Watch, Callable[..., Any], Any], Callable[..., Any]]

CANCELLED, ERROR, OVERFLOW, TIMED_OUT = (
    int(flag) for flag in (Flag.CANCELLED, Flag.ERROR, Flag.OVERFLOW, Flag.TIMED_OUT)
)
_REQUEST, _CHECKOUT = int(Kind.REQUEST), int(Kind.CHECKOUT)

_SAMPLE_MASK = SAMPLE_EVERY - 1


def connect(watch: Watch, original: Callable[..., Any], owner: Any) -> Callable[..., Any]:  # noqa: C901 - see above
    """`Pool.connect`, and each class's that overrides it: the request, and its answer.

    A class's override may come to its super: only the outermost is the request (`PoolState.owner`).
    """
    recorder, pools, leases, connections = watch.recorder, watch.pools, watch.leases, watch.connections
    spent, codes, skipped = watch.spent, recorder.codes, recorder.walker.skipped
    next_number, scope_now, failed = recorder.lease_number, current_scope.get, recorder.count_error

    def connect(self: Any) -> Any:  # noqa: C901 - each call less is a hundredth of a `select 1`
        try:
            requested_at = monotonic_ns()
            try:
                state = pools[id(self)]
            except KeyError:
                state = watch.pool(self)
            if state.owner is owner:
                if state.is_async:
                    try:
                        (task,) = running.values()  # the only task that runs anywhere: ours
                        who = id(task)
                    except ValueError:
                        task, who = running_task()
                    try:
                        # Who awaits the greenlet is SQLAlchemy, or nobody we know: look from its caller on.
                        frame = recorder.getcurrent().parent.gr_frame.f_back.f_back
                        while (code := id(frame.f_code)) in skipped:
                            frame = frame.f_back
                        site = codes[code, frame.f_lasti]
                    except (KeyError, AttributeError, TypeError):  # never seen; no greenlet yet; not in one; no frame
                        site = recorder.first_sight(True)
                    frame = None
                else:
                    task, who, site = None, get_ident(), recorder.site(False)
                waiting, held, opened = state.waiting, state.checked_out, state.open
                number = next_number()
                scope = scope_now()
                told = False
                context = intended_at = item = 0
                if scope is not None:
                    intended_at, context, item = scope.intended_at, recorder.context(scope.name), scope.item
                    site = site if scope.site is None else recorder.site_of(scope.site)
                if opened <= held or intended_at or item:  # nothing idle: it may take long, so say now that it began
                    told = True
                    recorder.ring.write(
                        _REQUEST, requested_at, number, 0, state.number, site,
                        intended_at, who, context, item, waiting, held, opened if opened > 0 else 0,
                    )  # fmt: skip
                if watch.opentelemetry is not None:
                    watch.trace(number, requested_at, state, site)
                if not number & _SAMPLE_MASK:
                    watch.sampled(requested_at)
            else:
                number = 0
        except Exception:
            number = 0
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
                        0, who, context, 0, waiting, held, opened,
                    )  # fmt: skip
                _refuse(watch, state, number, site, requested_at, error)
            except Exception:
                failed()
            raise
        try:
            acquired_at = monotonic_ns()
            lease = Lease()
            lease.number = number
            lease.pool = state
            lease.site = site
            lease.task = None if task is None else ref(task)
            lease.started_at = lease.control_at = acquired_at
            lease.statement = NO_STATEMENT
            lease.took = lease.control_took = lease.sql = lease.reset = lease.closing_at = 0
            lease.in_sql = lease.sampled = False
            lease.plain = True
            try:
                connection = connections[id(fairy.dbapi_connection)]
            except KeyError:
                connection = watch.found(fairy._connection_record, state)
            lease.connection = connection
            state.checked_out = out = state.checked_out + 1
            flags = OVERFLOW if out > state.size else 0
            if connection.news:
                flags |= watch.news(lease, fairy)
            if told or spent:
                wait = dial = ping = 0
                if not told:
                    recorder.ring.write(
                        _REQUEST, requested_at, number, 0, state.number, site,
                        0, who, context, 0, waiting, held, opened,
                    )  # fmt: skip
                if (note := spent.pop(id(fairy._connection_record), None)) is not None:
                    wait, dial, ping = watch.settle(note, requested_at, number, state, site)
                recorder.ring.write(
                    _CHECKOUT, acquired_at, number, flags, state.number, site,
                    wait, dial, ping, connection.number, connection.backend_pid,
                )  # fmt: skip
            else:
                ring = recorder.ring
                ring.following = (sequence := ring.following) + 1  # nothing comes in between under a GIL
                try:
                    PACK_ACQUIRED(
                        ring.body, (sequence & ring.mask) << 6, requested_at, number, ACQUIRED, flags, state.number,
                        site, who, connection.word, acquired_at - requested_at, waiting, held, opened, context,
                        sequence,
                    )  # fmt: skip
                except struct.error:  # a listener of the application's took four seconds
                    ring.rewrite(
                        sequence, _REQUEST, requested_at, number, state.number, site,
                        0, who, context, 0, waiting, held, opened,
                    )  # fmt: skip
                    ring.write(
                        _CHECKOUT, acquired_at, number, flags, state.number, site,
                        0, 0, 0, connection.number, connection.backend_pid,
                    )  # fmt: skip
            leases[id(fairy)] = lease
            if not number & _SAMPLE_MASK:
                lease.sampled = True
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
        try:
            state = pools[id(self)]
            # An async pool that has one to give gives it at once. Our own counts do not know what others just took.
            at_once = state.is_async and self._pool._queue._queue and self._overflow < self._max_overflow
        except KeyError:
            return original(self)
        except AttributeError:
            at_once = False
        if at_once:
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
