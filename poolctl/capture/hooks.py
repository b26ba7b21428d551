"""Hooks: the wrappers around SQLAlchemy's own methods. Each calls the original exactly once, whatever else happens.

In: a `Watch`. Out: for each method a function that makes the wrapper for a given original. The wrapper hands everything
to the watch; what the watch raises is counted and forgotten, what the original raises passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poolctl.capture.watch import Watch, request_now
from poolctl.clock import monotonic_ns

Wrap = Callable[[Watch, Callable[..., Any]], Callable[..., Any]]


def connect(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """`Pool.connect`: the request, and its answer."""
    begin, acquire, refuse, failed = watch.begin, watch.acquire, watch.refuse, watch.recorder.count_error
    reset = request_now.reset

    def connect(self: Any) -> Any:
        try:
            begun = begin(self, 1)
        except Exception:
            failed()
            begun = None
        if begun is None:
            return original(self)
        lease, token = begun
        try:
            fairy = original(self)
        except BaseException as error:
            try:
                reset(token)
                refuse(lease, error)
            except Exception:
                failed()
            raise
        try:
            reset(token)
            acquire(lease, fairy)
        except Exception:
            failed()
        return fairy

    return connect


def do_get(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """`QueuePool._do_get`: the wait for a slot. It may call itself, and a subclass's may call its super."""
    asking = request_now.get

    def _do_get(self: Any) -> Any:
        lease = asking()
        if lease is None or lease.in_get:
            return original(self)
        state = lease.pool
        lease.reached = lease.in_get = True
        state.waiting += 1
        started_at = monotonic_ns()
        try:
            return original(self)
        finally:
            lease.wait += monotonic_ns() - started_at
            state.waiting -= 1
            lease.in_get = False

    return _do_get


def connect_record(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """`_ConnectionRecord.__connect`: a connection is opened, the connect listeners and the dialect's own SQL included."""
    connected, failed = watch.connected, watch.recorder.count_error

    def __connect(self: Any) -> None:
        lease = request_now.get()
        if lease is not None:
            lease.reached = True
            if lease.in_get:
                lease.pool.waiting -= 1  # it connects, it no longer queues; `connected` takes that back
        started_at = monotonic_ns()
        try:
            original(self)
        except BaseException as error:
            try:
                connected(self, self._ConnectionRecord__pool, started_at, error)
            except Exception:
                failed()
            raise
        try:
            connected(self, self._ConnectionRecord__pool, started_at, None)
        except Exception:
            failed()

    return __connect


def ping(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:  # noqa: ARG001 - all have one shape
    """The dialect's ping before a checkout."""

    def _do_ping_w_event(self: Any, dbapi_connection: Any) -> Any:
        lease = request_now.get()
        if lease is None:
            return original(self, dbapi_connection)
        started_at = monotonic_ns()
        try:
            return original(self, dbapi_connection)
        finally:
            lease.ping += monotonic_ns() - started_at

    return _do_ping_w_event


def finalize(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """`_finalize_fairy`: every way back to the pool goes through it, the collector's too."""
    closing, failed, leases = watch.closing, watch.recorder.count_error, watch.leases
    take, give_back = watch.take, watch.give_back

    def _finalize_fairy(dbapi_connection: Any, connection_record: Any, *args: Any, **more: Any) -> Any:
        lease = None
        try:
            if connection_record is not None and leases:
                fairy = more.get("fairy")
                closing(connection_record, fairy is not None)
                if fairy is not None and id(fairy) in leases:  # a shared record: its lease ends here
                    lease = take(id(fairy))
        except Exception:
            failed()
        if lease is None:
            return original(dbapi_connection, connection_record, *args, **more)
        started_at = lease.closing_at = monotonic_ns()
        try:
            return original(dbapi_connection, connection_record, *args, **more)
        finally:
            try:
                give_back(lease, started_at, monotonic_ns())
            except Exception:
                failed()

    return _finalize_fairy


def return_record(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """`Pool._return_conn`: the slot becomes free."""
    leases, connections, failed = watch.leases, watch.connections, watch.recorder.count_error
    take, give_back = watch.take, watch.give_back

    def _return_conn(self: Any, record: Any) -> Any:
        lease = connection = None
        try:
            if id(record) in leases:  # taken now: once it is back, another thread may have the record in no time
                lease = take(id(record))
                connection = connections.get(id(record.dbapi_connection))
        except Exception:
            failed()
        if lease is None:
            return original(self, record)
        started_at = monotonic_ns()
        try:
            return original(self, record)
        finally:
            try:
                # Put back in the queue it is free at once; one too many is closed first, and the slot is free after that.
                closed_at = connection.closed_at if connection is not None else 0
                give_back(lease, started_at, closed_at or started_at)
            except Exception:
                failed()

    return _return_conn


def detach(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """`_ConnectionFairy.detach`: the connection leaves the pool with its holder, or with nobody (async, collected)."""

    def detach(self: Any) -> Any:
        lease = connection = None
        at = monotonic_ns()
        try:
            record = self._connection_record
            if record is not None:
                connection = watch.connections.get(id(self.dbapi_connection))
                lease = watch.take(id(record)) or watch.take(id(self))
        except Exception:
            watch.recorder.count_error()
        try:
            return original(self)
        finally:
            try:
                if connection is not None:
                    watch.tie(connection, self, id(self.dbapi_connection))
                if lease is not None:
                    watch.detach(lease, at)
            except Exception:
                watch.recorder.count_error()

    return detach


def invalidate_record(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """`_ConnectionRecord.invalidate`; a soft one only marks it for the next checkout."""

    def invalidate(self: Any, e: BaseException | None = None, soft: bool = False) -> Any:
        try:
            if not soft and self.dbapi_connection is not None:
                watch.invalidated(self, e)
        except Exception:
            watch.recorder.count_error()
        return original(self, e, soft)

    return invalidate


def close_connection(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
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
