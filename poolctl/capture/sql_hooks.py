"""SQL hooks: the wrappers around the dialects' methods in which the database works for the holder.

In: a `Watch`. Out: wrappers, as in `hooks`. A dialect's override may call its super: only the outermost call counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from poolctl.capture.state import Lease
from poolctl.capture.watch import Watch
from poolctl.clock import monotonic_ns
from poolctl.trace.events import Flag, Kind

CANCELLED, CONTROL, ERROR = int(Flag.CANCELLED), int(Flag.SKIPPED), int(Flag.ERROR)

FETCH_WORTH_NS = 20_000
"""A shorter fetch gets no record of its own; it is in the lease's sql time anyway."""


def execute(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`do_execute` and `do_executemany` of a dialect."""
    executing, executed = watch.executing, watch.executed

    def do_execute(self: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Any:
        lease = executing(context)
        if lease is None:
            return original(self, cursor, statement, parameters, context)
        try:
            result = original(self, cursor, statement, parameters, context)
        except BaseException as error:
            _failed(watch, lease, 0, statement, error)
            raise
        executed(lease, statement)
        return result

    return do_execute


def execute_no_params(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`do_execute_no_params` of a dialect: without parameters on request, so rare."""
    executing, executed = watch.executing, watch.executed

    def do_execute_no_params(self: Any, cursor: Any, statement: Any, context: Any = None) -> Any:
        lease = executing(context)
        if lease is None:
            return original(self, cursor, statement, context)
        try:
            result = original(self, cursor, statement, context)
        except BaseException as error:
            _failed(watch, lease, 0, statement, error)
            raise
        executed(lease, statement)
        return result

    return do_execute_no_params


def end_transaction(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`do_commit` and `do_rollback` of a dialect; within a return they are its reset."""
    ending, ended = watch.ending, watch.ended

    def do_end(self: Any, dbapi_connection: Any) -> Any:
        lease = ending(dbapi_connection)
        if lease is None:
            return original(self, dbapi_connection)
        try:
            result = original(self, dbapi_connection)
        except BaseException as error:
            _failed(watch, lease, CONTROL, None, error)
            raise
        ended(lease)
        return result

    return do_end


def fetch(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """The fetching of many rows by a result's strategy: from the driver's buffer, or from the server."""
    executing = watch.executing

    def fetch(self: Any, result: Any, *args: Any, **more: Any) -> Any:
        try:
            context = result.context
        except Exception:
            context = None
        lease = executing(context)
        if lease is None:
            return original(self, result, *args, **more)
        try:
            return original(self, result, *args, **more)
        finally:
            _fetched(watch, lease)

    return fetch


def _failed(watch: Watch, lease: Lease, flags: int, text: Any, error: BaseException) -> None:
    """What the database was to do for the holder failed. Never raises."""
    try:
        now = monotonic_ns()
        lease.in_sql = False
        why = watch.recorder.error(error)
        if isinstance(error, asyncio.CancelledError):
            lease.unfold()
            lease.flags |= CANCELLED
        if lease.closing_at:
            lease.reset = now - lease.closing_at
        else:
            number = 0 if text is None else watch.recorder.statement(text)
            watch.worked(lease, lease.began_at, now, number, flags | ERROR, why)
    except Exception:
        watch.recorder.count_error()


def _fetched(watch: Watch, lease: Lease) -> None:
    try:
        now = monotonic_ns()
        lease.in_sql = False
        lease.sql += now - lease.began_at
        if now - lease.began_at >= FETCH_WORTH_NS:
            watch.recorder.ring.words(now, lease.number, lease.meta | Kind.FETCH, lease.began_at, 0, 0, 0)
    except Exception:
        watch.recorder.count_error()
