"""Return hooks: the wrappers on the way back to the pool, the holder's own and the collector's.

In: a `Watch`. Out: wrappers, as in `hooks`, and as thin. Here most leases end: when their proxy goes back, unless the
connection left the pool with it (`connection_hooks.detach`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from poolctl.capture.watch import Watch
from poolctl.clock import monotonic_ns


def finalize(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`_finalize_fairy`: every way back to the pool goes through it, the collector's too."""
    leaving, left = watch.leaving, watch.left

    # `original(*args, **more)` costs as much as all the rest: the two signatures there are, spelled out.

    def finalize_20(  # SQLAlchemy 2.0
        conn: Any, record: Any, pool: Any, ref: Any, echo: Any, transaction_was_reset: Any = False, fairy: Any = None
    ) -> Any:
        lease = leaving(fairy, record)
        if lease is None:
            return original(conn, record, pool, ref, echo, transaction_was_reset, fairy)
        try:
            return original(conn, record, pool, ref, echo, transaction_was_reset, fairy)
        finally:
            left(lease, fairy)

    def finalize_21(  # SQLAlchemy 2.1
        conn: Any,
        record: Any,
        pool: Any,
        echo: Any,
        transaction_was_reset: Any = False,
        fairy: Any = None,
        is_gc_cleanup: Any = False,
    ) -> Any:
        lease = leaving(fairy, record)
        if lease is None:
            return original(conn, record, pool, echo, transaction_was_reset, fairy, is_gc_cleanup)
        try:
            return original(conn, record, pool, echo, transaction_was_reset, fairy, is_gc_cleanup)
        finally:
            left(lease, fairy)

    def finalize_other(conn: Any, record: Any, *args: Any, **more: Any) -> Any:
        fairy = more.get("fairy")
        lease = leaving(fairy, record)
        if lease is None:
            return original(conn, record, *args, **more)
        try:
            return original(conn, record, *args, **more)
        finally:
            left(lease, fairy)

    names = list(inspect.signature(original).parameters)[2:]
    for ours in (finalize_20, finalize_21):
        if names == list(inspect.signature(ours).parameters)[2:]:
            return ours
    return finalize_other


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
