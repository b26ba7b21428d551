"""The ledger: whatever a program does with a pool, each request ends exactly once, as it did end, and the sums agree
with what the pool says of itself. Real pools, real connections (sqlite), random programs."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import tempfile
import warnings
from pathlib import Path

import pytest
import sqlalchemy as sa
from captured import ENDS, capture
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import create_async_engine

from poolctl.trace.events import Kind

SELECT = sa.text("select 1")
SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

STEPS = ["connect", "query", "commit", "fail", "return", "invalidate", "detach", "drop", "dispose", "refuse", "dead"]
programs = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), max_size=25)


class Counted(sqlite3.Connection):
    """A driver's connection that is counted while it is open. Each program counts by a subclass of its own."""

    open = 0
    _closed = False

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        type(self).open += 1

    def close(self):
        self._count()
        super().close()

    def __del__(self):
        self._count()

    def _count(self):
        if not self._closed:
            self._closed = True
            type(self).open -= 1


class Program:
    """What a program holds, and how each of its requests should have ended so far."""

    def __init__(self, engine):
        self.engine = engine
        self.held: list[tuple[int, object]] = []
        self.ends: list[str] = []
        self.loose: list[object] = []

    def connect(self, _):
        pool, number = self.engine.pool, len(self.ends)
        self.ends.append("open")
        if pool.checkedout() >= 3:
            with pytest.raises(sa.exc.TimeoutError):
                self.engine.connect()
            self.ends[number] = "timed_out"
            return
        self.held.append((number, self.engine.connect()))

    def refuse(self, _):
        """A connect that the driver refuses, unless an idle connection is there."""
        if self.engine.pool.checkedout() >= 3 or self.engine.pool.checkedin():
            return
        self.ends.append("failed")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.engine.dialect, "connect", _refuse)
            with pytest.raises(sa.exc.OperationalError):
                self.engine.connect()

    def dead(self, _):
        """A checkout whose ping fails and whose reconnect is refused."""
        if not self.engine.pool.checkedin():
            return
        self.ends.append("failed")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.engine.dialect, "connect", _refuse)
            patch.setattr(self.engine.dialect, "do_ping", lambda _: False)
            with pytest.raises(sa.exc.OperationalError):
                self.engine.connect()

    def query(self, which):
        if self.held:
            self.held[which % len(self.held)][1].execute(SELECT)

    def commit(self, which):
        if self.held:
            self.held[which % len(self.held)][1].commit()

    def fail(self, which):
        if self.held:
            with pytest.raises(sa.exc.OperationalError):
                self.held[which % len(self.held)][1].execute(sa.text("select * from nowhere"))

    def dispose(self, _):
        self.engine.dispose()

    def take(self, which, end):
        if not self.held:
            return None
        number, connection = self.held.pop(which % len(self.held))
        self.ends[number] = end
        return connection

    def invalidate(self, which):
        if (connection := self.take(which, "invalidated")) is not None:
            connection.invalidate()
            connection.close()

    def detach(self, which):
        if (connection := self.take(which, "detached")) is not None:
            connection.detach()
            self.loose.append(connection)

    def drop(self, which):
        connection = self.take(which, "abandoned")
        del connection
        gc.collect()


setattr(Program, "return", lambda self, which: (connection := self.take(which, "returned")) and connection.close())


def _refuse(*_args, **_more):
    raise sqlite3.OperationalError("refused")


def sums_agree(captured, engine, opened):
    """What capture counts is what the pool and the driver count."""
    watch = captured.installed.watch
    state = watch.pools.get(id(engine.pool))
    if state is not None:
        assert state.checked_out == engine.pool.checkedout()
        assert state.waiting == 0
    assert len(watch.connections) == opened
    assert not watch.returning


@SETTINGS
@given(programs, st.booleans())
def test_each_request_of_a_program_ends_once_and_the_sums_agree_with_the_pool(program, lifo):
    counted = type("Counted", (Counted,), {"open": 0})
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        engine = sa.create_engine(
            f"sqlite:///{directory}/x.db",
            pool_size=2,
            max_overflow=1,
            pool_timeout=0.001,
            pool_pre_ping=True,
            pool_use_lifo=lifo,
            connect_args={"factory": counted},
        )
        with capture(directory, ring_records=4096) as captured:
            running = Program(engine)
            for step, which in program:
                getattr(running, step)(which)
                sums_agree(captured, engine, counted.open)
            still_open = [connection for _, connection in running.held]
        assert captured.ends() == running.ends
        note(running.ends)
        laws(captured)
        for connection in still_open + running.loose:
            connection.close()
        engine.dispose()


async_programs = st.lists(
    st.tuples(
        st.sampled_from(
            ["connect", "query", "return", "invalidate", "detach", "drop", "wait", "cancel wait", "cancel hold"]
        ),
        st.integers(0, 5),
    ),
    max_size=16,
)


async def perform(engine, program):  # noqa: C901 - one branch a step
    """Run a program of asyncio tasks; return the ends it should have had, and what it still holds."""
    held, ends, waiting = [], [], []

    def take(which, end):
        if not held:
            return None
        number, connection = held.pop(which % len(held))
        ends[number] = end
        return connection

    async def settle():
        """Until whoever can have a connection has it."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        while True:
            for number, task in [pair for pair in waiting if pair[1].done()]:
                waiting.remove((number, task))
                held.append((number, task.result()))
            if engine.pool.checkedout() == len(held):
                return
            await asyncio.sleep(0.001)

    for step, which in program:
        if step == "connect" and engine.pool.checkedout() < 3 and not waiting:
            ends.append("open")
            held.append((len(ends) - 1, await engine.connect()))
        elif step == "wait" and engine.pool.checkedout() >= 3:
            ends.append("open")
            waiting.append((len(ends) - 1, asyncio.create_task(engine.connect().start())))
            await settle()
        elif step == "cancel wait" and waiting:
            number, task = waiting.pop(which % len(waiting))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            ends[number] = "cancelled"
        elif step == "cancel hold" and engine.pool.checkedout() < 3 and not waiting:
            ends.append("cancelled")
            task = asyncio.create_task(_hold(engine))
            await asyncio.sleep(0.003)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif step == "query" and held:
            await held[which % len(held)][1].execute(SELECT)
        elif step == "return" and (connection := take(which, "returned")) is not None:
            await connection.close()
        elif step == "invalidate" and (connection := take(which, "invalidated")) is not None:
            await connection.invalidate()
            await connection.close()
        elif step == "detach" and (connection := take(which, "detached")) is not None:
            (await connection.get_raw_connection()).detach()
            await connection.close()
        elif step == "drop":
            connection = take(which, "abandoned")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sa.exc.SAWarning)
                del connection
                gc.collect()
        await settle()
    return ends, [connection for _, connection in held], [task for _, task in waiting]


async def _hold(engine):
    async with engine.connect() as connection:
        await connection.execute(SELECT)
        await asyncio.sleep(60)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # aiosqlite's, after the loop
@SETTINGS
@given(async_programs)
def test_each_request_of_an_asyncio_program_ends_once(program):
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)

        async def main():
            engine = create_async_engine(
                f"sqlite+aiosqlite:///{directory}/x.db", pool_size=2, max_overflow=1, pool_timeout=60
            )
            with capture(directory, ring_records=4096) as captured:
                ends, held, waiting = await perform(engine, program)
                state = captured.installed.watch.pools.get(id(engine.pool))
                if state is not None:
                    assert state.checked_out == engine.pool.checkedout()
                    assert state.waiting == len(waiting)
            assert captured.ends() == ends
            laws(captured)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            for connection in held:
                await connection.close()
            await engine.dispose()

        asyncio.run(main())


def laws(captured):
    """What holds of every ledger."""
    sequences = [event.sequence for event in captured.events]
    assert sequences == list(range(1, len(sequences) + 1))
    for events in captured.ledger().values():
        at = {event.kind: event.at for event in events}
        last = max(event.at for event in events if event.kind not in ENDS) if len(events) > 1 else 0
        for checkout in (event for event in events if event.kind is Kind.CHECKOUT):
            assert checkout.wait + checkout.connect + checkout.ping <= checkout.at - at[Kind.REQUEST]
        for checkin in (event for event in events if event.kind is Kind.CHECKIN):
            hold = checkin.at - at[Kind.CHECKOUT]
            assert checkin.at >= last
            assert checkin.sql + checkin.reset <= hold
            assert checkin.reset <= checkin.checkin <= hold
            statements = [event for event in events if event.kind in (Kind.STATEMENT, Kind.FETCH)]
            assert sum(event.at - event.started_at for event in statements) <= checkin.sql
