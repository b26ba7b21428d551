"""SQL hooks: the wrappers around the dialects' methods in which the database works for the holder.

In: a `Watch`. Out: wrappers, as in `hooks`. A dialect's override may call its super: only the outermost call counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from poolctl.capture.state import Lease
from poolctl.capture.watch import IDLE_WORTH_NS, Watch
from poolctl.clock import monotonic_ns
from poolctl.trace.events import Flag, Kind
from poolctl.trace.ring import NO_STATEMENT

CANCELLED, CONTROL, ERROR = int(Flag.CANCELLED), int(Flag.SKIPPED), int(Flag.ERROR)

TOGETHER_NS = IDLE_WORTH_NS
"""A statement that ends within this time of a lease's last written record waits for the next (`Watch.flush`)."""

FETCH_WORTH_NS = 20_000
"""A shorter fetch gets no record of its own; it is in the lease's sql time anyway."""


def execute(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`do_execute` and `do_executemany` of a dialect."""
    recorder, leases, failed = watch.recorder, watch.leases, watch.recorder.count_error
    numbers = recorder.statements

    def do_execute(self: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Any:
        try:
            lease = leases.get(id(context.root_connection._dbapi_connection))
        except Exception:  # no context, or one of somebody's own making
            lease = None
        if lease is None or lease.in_sql:
            return original(self, cursor, statement, parameters, context)
        lease.in_sql = True
        started_at = monotonic_ns()
        try:
            result = original(self, cursor, statement, parameters, context)
        except BaseException as error:
            _worked(watch, lease, started_at, 0, statement, error)
            raise
        try:
            ended_at = monotonic_ns()
            lease.in_sql = False
            if lease.statement != NO_STATEMENT or ended_at - lease.started_at >= TOGETHER_NS:
                watch.worked(lease, started_at, ended_at, recorder.statement(statement))
            else:
                lease.started_at = started_at
                lease.took = ended_at - started_at
                try:
                    lease.statement = numbers[statement]
                except (KeyError, TypeError):
                    lease.statement = recorder.statement(statement)
            if lease.sampled:
                watch.overhead(ended_at)
        except Exception:
            failed()
        return result

    return do_execute


def execute_no_params(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`do_execute_no_params` of a dialect: without parameters on request, so rare."""

    def do_execute_no_params(self: Any, cursor: Any, statement: Any, context: Any = None) -> Any:
        try:
            lease = watch.leases.get(id(context.root_connection._dbapi_connection))
        except Exception:
            lease = None
        if lease is None or lease.in_sql:
            return original(self, cursor, statement, context)
        return _timed(watch, lease, 0, statement, original, self, cursor, statement, context)

    return do_execute_no_params


def end_transaction(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`do_commit` and `do_rollback` of a dialect; within a return they are its reset."""
    leases, failed = watch.leases, watch.recorder.count_error

    def do_end(self: Any, dbapi_connection: Any) -> Any:
        lease = leases.get(id(dbapi_connection))
        if lease is None or lease.in_sql:
            return original(self, dbapi_connection)
        lease.in_sql = True
        started_at = monotonic_ns()
        try:
            result = original(self, dbapi_connection)
        except BaseException as error:
            _worked(watch, lease, started_at, CONTROL, None, error)
            raise
        try:
            ended_at = monotonic_ns()
            lease.in_sql = False
            if lease.closing_at:
                lease.reset = ended_at - lease.closing_at
            elif lease.control_took or ended_at - lease.control_at >= TOGETHER_NS:
                watch.worked(lease, started_at, ended_at, 0, CONTROL)
            else:
                lease.control_at = started_at
                lease.control_took = ended_at - started_at
            if lease.sampled:
                watch.overhead(ended_at)
        except Exception:
            failed()
        return result

    return do_end


def fetch(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """The fetching of many rows by a result's strategy: from the driver's buffer, or from the server."""

    def fetch(self: Any, result: Any, *args: Any, **more: Any) -> Any:
        try:
            lease = watch.leases.get(id(result.context.root_connection._dbapi_connection))
        except Exception:
            lease = None
        if lease is None or lease.in_sql:
            return original(self, result, *args, **more)
        lease.in_sql = True
        started_at = monotonic_ns()
        try:
            return original(self, result, *args, **more)
        finally:
            _fetched(watch, lease, started_at)

    return fetch


def _timed(watch: Watch, lease: Lease, flags: int, text: Any, original: Callable[..., Any], *args: Any) -> Any:
    lease.in_sql = True
    started_at = monotonic_ns()
    try:
        result = original(*args)
    except BaseException as error:
        _worked(watch, lease, started_at, flags, text, error)
        raise
    _worked(watch, lease, started_at, flags, text, None)
    return result


def _worked(watch: Watch, lease: Lease, started_at: int, flags: int, text: Any, error: BaseException | None) -> None:
    """The database worked for the holder, or failed to.  Never raises."""
    try:
        now = monotonic_ns()
        lease.in_sql = False
        why = 0
        if error is not None:
            flags |= ERROR
            why = watch.recorder.error(error)
            if isinstance(error, asyncio.CancelledError):
                lease.unfold()
                lease.flags |= CANCELLED
        if lease.closing_at:
            lease.reset = now - lease.closing_at
        else:
            watch.worked(lease, started_at, now, 0 if text is None else watch.recorder.statement(text), flags, why)
    except Exception:
        watch.recorder.count_error()


def _fetched(watch: Watch, lease: Lease, started_at: int) -> None:
    try:
        now = monotonic_ns()
        lease.in_sql = False
        lease.sql += now - started_at
        if now - started_at >= FETCH_WORTH_NS:
            watch.recorder.ring.words(now, lease.number, lease.meta | Kind.FETCH, started_at, 0, 0, 0)
    except Exception:
        watch.recorder.count_error()
