"""Connection hooks: the wrappers for what is rare: a connection opened, tested, invalidated, closed, detached.

In: a `Watch`. Out: wrappers, as in `hooks`. They do not know whose request they work for; what they took is noted under
the record, or the exception, by which the request finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poolctl.capture.watch import Watch
from poolctl.clock import monotonic_ns


def connect_record(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`_ConnectionRecord.__connect`: a connection is opened; connect listeners and the dialect's own SQL included."""
    failed = watch.recorder.count_error

    def __connect(self: Any) -> None:
        started_at = monotonic_ns()
        state = None
        inside = queued = False
        try:
            state = watch.pool(self._ConnectionRecord__pool)
            inside = not hasattr(self, "finalize_callback")  # its __init__ has not come to an end: we are in `_do_get`
            queued = inside and state.waiting > 0  # a pool without a queue counts nobody
            state.waiting -= queued  # it connects, it no longer queues
        except Exception:
            failed()
        error: BaseException | None = None
        try:
            original(self)
        except BaseException as raised:
            error = raised
            raise
        finally:
            try:
                if state is not None:
                    state.waiting += queued
                    watch.connected(self, state, started_at, inside, error)
            except Exception:
                failed()
            error = None

    return __connect


def ping(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """The dialect's ping before a checkout."""

    def ping(self: Any, dbapi_connection: Any) -> Any:
        started_at = monotonic_ns()
        error: BaseException | None = None
        try:
            return original(self, dbapi_connection)
        except BaseException as raised:
            error = raised
            raise
        finally:
            try:
                watch.pinged(dbapi_connection, started_at, error)
            except Exception:
                watch.recorder.count_error()
            error = None

    return ping


def invalidate_record(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`_ConnectionRecord.invalidate`; a soft one only marks it for the next checkout."""

    def invalidate(self: Any, e: BaseException | None = None, soft: bool = False) -> Any:
        try:
            if not soft and self.dbapi_connection is not None:
                watch.invalidated(self, e)
        except Exception:
            watch.recorder.count_error()
        return original(self, e, soft)

    return invalidate


def close_connection(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`Pool._close_connection`: every connection the pool closes, idle, recycled, invalidated or detached."""

    def _close_connection(self: Any, connection: Any, **more: Any) -> Any:
        started_at = monotonic_ns()
        try:
            return original(self, connection, **more)
        finally:
            try:
                watch.closed(id(connection), started_at)
            except Exception:
                watch.recorder.count_error()

    return _close_connection


def detach(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`_ConnectionFairy.detach`: the connection leaves the pool with its holder, or with nobody (async, collected)."""

    def detach(self: Any) -> Any:
        lease = connection = None
        at = monotonic_ns()
        try:
            if self._connection_record is not None:
                connection = watch.connections.get(id(self.dbapi_connection))
                lease = watch.leases.pop(id(self), None) or watch.returning.pop(id(self._connection_record), None)
            if connection is not None:  # before: the record may not live longer than the original runs
                watch.tie(connection, self, id(self.dbapi_connection))
        except Exception:
            watch.recorder.count_error()
        try:
            return original(self)
        finally:
            try:
                if lease is not None:
                    watch.detach(lease, at)
            except Exception:
                watch.recorder.count_error()

    return detach
