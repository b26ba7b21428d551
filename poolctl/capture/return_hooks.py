"""Return hooks: the wrappers on the way back to the pool, the holder's own and the collector's.

In: a `Watch`. Out: wrappers, as in `hooks`, and as flat. Here most leases end: when their proxy goes back, unless the
connection left the pool with it (`connection_hooks.detach`).
"""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable
from typing import Any

from poolctl.capture.state import Lease
from poolctl.capture.watch import Watch
from poolctl.clock import monotonic_ns
from poolctl.trace.events import Flag
from poolctl.trace.ring import PACK_RETURNED, RETURNED

CANCELLED = int(Flag.CANCELLED)


def finalize(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`_finalize_fairy`: every way back to the pool goes through it, the collector's too."""
    leases, returning, end = watch.leases, watch.returning, _give_back(watch)

    # `original(*args, **more)` costs as much as all the rest: the two signatures there are, spelled out.

    def finalize_20(  # SQLAlchemy 2.0
        conn: Any, record: Any, pool: Any, ref: Any, echo: Any, transaction_was_reset: Any = False, fairy: Any = None
    ) -> Any:
        lease = leases.get(id(fairy)) if fairy is not None else _collected(watch, record)
        if lease is None:
            return original(conn, record, pool, ref, echo, transaction_was_reset, fairy)
        lease.closing_at = monotonic_ns()
        if not lease.pool.is_async:
            lease.returned_at = 0
            returning[lease.record] = lease
        try:
            return original(conn, record, pool, ref, echo, transaction_was_reset, fairy)
        finally:
            end(lease, fairy)

    def finalize_21(  # SQLAlchemy 2.1
        conn: Any,
        record: Any,
        pool: Any,
        echo: Any,
        transaction_was_reset: Any = False,
        fairy: Any = None,
        is_gc_cleanup: Any = False,
    ) -> Any:
        lease = leases.get(id(fairy)) if fairy is not None else _collected(watch, record)
        if lease is None:
            return original(conn, record, pool, echo, transaction_was_reset, fairy, is_gc_cleanup)
        lease.closing_at = monotonic_ns()
        if not lease.pool.is_async:
            lease.returned_at = 0
            returning[lease.record] = lease
        try:
            return original(conn, record, pool, echo, transaction_was_reset, fairy, is_gc_cleanup)
        finally:
            end(lease, fairy)

    def finalize_other(conn: Any, record: Any, *args: Any, **more: Any) -> Any:
        fairy = more.get("fairy")
        lease = leases.get(id(fairy)) if fairy is not None else _collected(watch, record)
        if lease is None:
            return original(conn, record, *args, **more)
        lease.closing_at = monotonic_ns()
        if not lease.pool.is_async:
            lease.returned_at = 0
            returning[lease.record] = lease
        try:
            return original(conn, record, *args, **more)
        finally:
            end(lease, fairy)

    names = list(inspect.signature(original).parameters)[2:]
    for ours in (finalize_20, finalize_21):
        if names == list(inspect.signature(ours).parameters)[2:]:
            return ours
    return finalize_other


def _collected(watch: Watch, record: Any) -> Lease | None:
    """The collector brings a record back; return the lease whose proxy died, if it is this one."""
    try:
        lease = watch.orphan(record) if record is not None else None
        if lease is not None:
            lease.returned_at = 0
            watch.returning[lease.record] = lease
        return lease
    except Exception:
        watch.recorder.count_error()
        return None


def _give_back(watch: Watch) -> Callable[[Lease, Any], None]:
    """Return what comes after a return: unless the connection was detached on the way, the slot is free."""
    leases, returning, recorder = watch.leases, watch.returning, watch.recorder

    def give_back(lease: Lease, fairy: Any) -> None:
        try:
            ended_at = monotonic_ns()
            if fairy is None:
                returning.pop(lease.record, None)
                if lease.detached:
                    return
                ended_at = lease.returned_at or ended_at
            else:
                try:
                    del leases[id(fairy)]
                except KeyError:  # it left the pool with its holder
                    return
            state = lease.pool
            if not state.is_async:
                returning.pop(lease.record, None)
                ended_at = lease.returned_at or ended_at
            elif (ref := lease.task) is not None and (task := ref()) is not None and task.cancelling():
                lease.unfold()
                lease.flags |= CANCELLED
            if lease.plain:
                state.checked_out -= 1
                ring = recorder.ring
                ring.following = (sequence := ring.following) + 1
                try:
                    PACK_RETURNED(
                        ring.body, (sequence & ring.mask) << 6, ended_at, lease.number, RETURNED, 0, state.number,
                        lease.site, ended_at - lease.started_at, lease.took, ended_at - lease.control_at,
                        lease.control_took, ended_at - lease.closing_at, lease.reset,
                        lease.statement, lease.sql, sequence,
                    )  # fmt: skip
                except struct.error:  # four seconds have passed since
                    watch.end(lease, ended_at, sequence)
            else:
                watch.end(lease, ended_at)
            if lease.sampled:
                watch.overhead(ended_at)
        except Exception:
            recorder.count_error()

    return give_back


def return_record(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`Pool._return_conn`: the instant from which another thread may have the slot.

    An async pool's tasks cannot come in between, there the end of `finalize` is as good.
    """
    returning = watch.returning

    def _return_conn(self: Any, record: Any) -> Any:
        if not returning or (lease := returning.pop(id(record), None)) is None:
            return original(self, record)
        lease.returned_at = monotonic_ns()
        was_open = record.dbapi_connection is not None
        try:
            return original(self, record)
        finally:
            if was_open and record.dbapi_connection is None:  # one too many: closed first, and free after that
                lease.returned_at = monotonic_ns()

    return _return_conn
