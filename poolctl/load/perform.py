"""Performer: does one work item through the engine under test, and writes down how it went.

In: a work item, its intended start, who does it. Out: one OPERATION record, one entry for locust's statistics, and for
the caller what went wrong. Runs on the loop that owns the pool. Knows nothing of when work comes.

This is the load's hot path. A transaction runs whole (checkout, function, commit, return) in one greenlet, where an
AsyncConnection would start one for each step; the pool sees the same calls in the same order. An `async def` is awaited
by the task from inside that greenlet.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only, greenlet_spawn

from poolctl.capture.recorder import Recorder
from poolctl.capture.scope import scope
from poolctl.clock import monotonic_ns
from poolctl.load.scenario import Transaction
from poolctl.load.tape import Work
from poolctl.trace.events import Flag

Call = Callable[[dict[str, Any]], Awaitable[Any]]

_DONE, _TIMED_OUT, _CANCELLED, _ERROR = int(Flag.NONE), int(Flag.TIMED_OUT), int(Flag.CANCELLED), int(Flag.ERROR)


class Performer:
    """Performs work items on `engine`; without a recorder only locust's statistics are fed."""

    def __init__(self, engine: AsyncEngine, transactions: tuple[Transaction, ...], recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._calls = {one.name: (_call(engine, one), _site(one)) for one in transactions}
        self.results: deque[tuple[str, float, BaseException | None]] = deque()
        """(transaction, milliseconds from the intended start to the end, error), for locust; another thread takes
        them out."""
        self.ended = 0
        """Operations that ended, in whatever way."""

    async def perform(self, work: Work, intended_at: int, client: int = 0) -> BaseException | None:
        """Do `work` and return what it failed with. Cancelled, it records that and raises CancelledError."""
        started_at = monotonic_ns()
        name = work.transaction.name
        call, site = self._calls[name]
        error: BaseException | None = None
        flags = _DONE
        try:
            with scope(name, site=site, intended_at=intended_at, item=work.item, client=client):
                await call(work.parameters)
        except PoolTimeout as raised:
            error, flags = raised, _TIMED_OUT
        except asyncio.CancelledError as raised:
            error, flags = raised, _CANCELLED
            raise
        except Exception as raised:  # noqa: BLE001 - a transaction may raise what it likes: that is a result
            error, flags = raised, _ERROR
        finally:
            ended_at = monotonic_ns()
            self.ended += 1
            self.results.append((name, (ended_at - intended_at) / 1e6, error))
            if self._recorder is not None:
                self._recorder.operation(intended_at, started_at, ended_at, name, work.item, client, flags, error)
        if error is not None:
            error.__traceback__ = None  # it holds this frame, which holds the error: a cycle for each timeout
        return error

    def skip(self, work: Work, intended_at: int, client: int = 0) -> None:
        """Write down that `work` was not even started."""
        if self._recorder is not None:
            now = monotonic_ns()
            self._recorder.operation(intended_at, 0, now, work.transaction.name, work.item, client, int(Flag.SKIPPED))


def _site(one: Transaction) -> tuple[str, int, str] | None:
    """The transaction's own place where poolctl takes the connection for it; else its code asks, and capture sees."""
    return one.site if one.takes == "connection" else None


def _call(engine: AsyncEngine, one: Transaction) -> Call:
    function, sync_engine = one.function, engine.sync_engine

    def with_connection(parameters: dict[str, Any]) -> None:
        with sync_engine.connect() as connection:
            function(connection, **parameters)
            connection.commit()

    def with_session(parameters: dict[str, Any]) -> None:
        with Session(sync_engine) as session:
            function(session, **parameters)
            session.commit()

    def with_engine(parameters: dict[str, Any]) -> None:
        function(sync_engine, **parameters)

    def with_async_connection(parameters: dict[str, Any]) -> None:
        with sync_engine.connect() as connection:
            await_only(function(AsyncConnection(engine, connection), **parameters))  # on the task, outside the greenlet
            connection.commit()

    async def with_async_session(parameters: dict[str, Any]) -> None:
        async with AsyncSession(engine) as session:
            await function(session, **parameters)
            await session.commit()

    async def with_async_engine(parameters: dict[str, Any]) -> None:
        await function(engine, **parameters)

    if one.native and one.takes == "session":
        return with_async_session
    if one.native and one.takes == "engine":
        return with_async_engine
    plain = {"connection": with_connection, "session": with_session, "engine": with_engine}[one.takes]
    if one.native:
        plain = with_async_connection
    return lambda parameters: greenlet_spawn(plain, parameters)
