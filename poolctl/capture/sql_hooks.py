"""SQL hooks: the wrappers around the dialects' methods in which the database works for the holder.

In: a `Watch`. Out: wrappers, as in `hooks`. A dialect's override may call its super: only the outermost call counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poolctl.capture.state import Lease
from poolctl.capture.watch import Watch
from poolctl.clock import monotonic_ns


def _timed(watch: Watch) -> Callable[..., Any]:
    worked, failed = watch.worked, watch.recorder.count_error

    def timed(lease: Lease, text: Any, control: bool, original: Callable[..., Any], *args: Any) -> Any:
        lease.in_sql = True
        started_at = monotonic_ns()
        try:
            result = original(*args)
        except BaseException as error:
            ended_at = monotonic_ns()
            lease.in_sql = False
            try:
                worked(lease, started_at, ended_at, text, error, control)
            except Exception:
                failed()
            raise
        ended_at = monotonic_ns()
        lease.in_sql = False
        try:
            worked(lease, started_at, ended_at, text, None, control)
        except Exception:
            failed()
        return result

    return timed


def _lease_of(watch: Watch) -> Callable[[Any], Lease | None]:
    """Return a function from SQLAlchemy's proxy (or whatever stands for it) to the lease it holds."""
    leases = watch.leases

    def lease_of(fairy: Any) -> Lease | None:
        try:
            lease = leases.get(id(fairy._connection_record)) or leases.get(id(fairy))
        except Exception:  # not a proxy of a pool
            return None
        return None if lease is None or lease.in_sql else lease

    return lease_of


def execute(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """`do_execute` and `do_executemany` of a dialect."""
    timed, lease_of = _timed(watch), _lease_of(watch)

    def do_execute(self: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Any:
        lease = None if context is None else lease_of(_fairy_of(context))
        if lease is None:
            return original(self, cursor, statement, parameters, context)
        return timed(lease, statement, False, original, self, cursor, statement, parameters, context)

    return do_execute


def execute_no_params(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """`do_execute_no_params` of a dialect."""
    timed, lease_of = _timed(watch), _lease_of(watch)

    def do_execute_no_params(self: Any, cursor: Any, statement: Any, context: Any = None) -> Any:
        lease = None if context is None else lease_of(_fairy_of(context))
        if lease is None:
            return original(self, cursor, statement, context)
        return timed(lease, statement, False, original, self, cursor, statement, context)

    return do_execute_no_params


def end_transaction(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """`do_commit` and `do_rollback` of a dialect."""
    timed, lease_of = _timed(watch), _lease_of(watch)

    def do_end(self: Any, dbapi_connection: Any) -> Any:
        lease = lease_of(dbapi_connection)
        if lease is None:
            return original(self, dbapi_connection)
        return timed(lease, None, True, original, self, dbapi_connection)

    return do_end


def fetch(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    """The fetching of many rows by a result's strategy: from the driver's buffer, or from the server."""
    fetched, failed, lease_of = watch.fetched, watch.recorder.count_error, _lease_of(watch)

    def fetch(self: Any, result: Any, *args: Any, **more: Any) -> Any:
        try:
            lease = lease_of(_fairy_of(result.context))
        except Exception:
            lease = None
        if lease is None:
            return original(self, result, *args, **more)
        lease.in_sql = True
        started_at = monotonic_ns()
        try:
            return original(self, result, *args, **more)
        finally:
            lease.in_sql = False
            try:
                fetched(lease, started_at)
            except Exception:
                failed()

    return fetch


def _fairy_of(context: Any) -> Any:
    try:
        return context.root_connection._dbapi_connection
    except Exception:  # a context of somebody's own making
        return None
