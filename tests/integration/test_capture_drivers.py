"""One life with each driver, on a real server: what capture says agrees with what happened, and with the server.

MySQL's drivers talk to MariaDB. mysqlclient is tested where it is installed (`mariadb.SYNC_DRIVERS`).
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy as sa
from captured import Captured, capture, end_of
from mariadb import ASYNC_DRIVERS, SYNC_DRIVERS
from sqlalchemy.ext.asyncio import create_async_engine

from poolctl.trace.events import Flag, Kind

SELECT = sa.text("select 1")
SYNC = ["psycopg2", "psycopg", *SYNC_DRIVERS, "sqlite"]
ASYNC = ["asyncpg", "psycopg", *ASYNC_DRIVERS, "aiosqlite"]
POOL = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 0.2, "pool_pre_ping": True}


@dataclass
class Backend:
    """A server, as one driver sees it; a file of sqlite's has no sessions, and nobody to end them."""

    url: str
    nowhere: str
    """The same without anybody there."""
    session: sa.TextClause | None = None
    """Asks the server for its number of this session."""
    sleep: sa.TextClause | None = None
    end: Callable[[int], None] = lambda _: None
    """Ends a session, and waits until it is gone."""


@pytest.fixture
def backend(driver: str, request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if "sqlite" in driver:
        base = "sqlite+aiosqlite" if driver == "aiosqlite" else "sqlite"
        return Backend(f"{base}:///{tmp_path}/data.db", f"{base}:///{tmp_path}/missing/data.db")
    if "my" in driver:
        server = request.getfixturevalue("mariadb")
        url = server.url(driver)
        return Backend(
            url,
            url.replace(f":{server.port}/", ":1/"),
            sa.text("select connection_id()"),
            sa.text("select sleep(2)"),
            server.kill,
        )
    url = request.getfixturevalue("postgres_url").replace("asyncpg", driver)
    place = sa.make_url(url)

    def end(pid: int) -> None:
        with psycopg.connect(host=str(place.query["host"]), user=place.username, dbname=place.database) as admin:
            admin.execute("select pg_terminate_backend(%s, 20000)", (pid,))  # it waits until the session is gone

    nowhere = f"postgresql+{driver}://nobody@127.0.0.1:1/nothing"
    return Backend(url, nowhere, sa.text("select pg_backend_pid()"), sa.text("select pg_sleep(2)"), end)


def here(offset: int = 0) -> int:
    """The line of the caller, or one below."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno + offset


def assert_the_ledger_balances(captured: Captured, expected: list[tuple[str, str, int]]) -> list[SimpleNamespace]:
    """Each request ended once and as expected, at its function and line; its parts are within the whole."""
    ledger = [events for _, events in sorted(captured.ledger().items())]
    found = []
    for events in ledger:
        by_kind = {event.kind: event for event in events}
        request, checkout, checkin = (by_kind.get(kind) for kind in (Kind.REQUEST, Kind.CHECKOUT, Kind.CHECKIN))
        site = captured.site(request)
        assert Path(site["file"]) == Path(__file__)
        assert {event.site for event in events} == {request.site}
        found.append((end_of(events), site["function"], site["line"]))
        answer = checkout or by_kind[Kind.REFUSED]
        assert min(answer.wait, answer.connect, answer.ping) >= 0
        assert answer.wait + answer.connect + answer.ping <= answer.at - request.at
        if checkin is not None:
            assert 0 <= checkin.reset <= checkin.checkin
            assert checkin.sql + checkin.checkin <= checkin.at - checkout.at
            worked = [event for event in events if event.kind in (Kind.STATEMENT, Kind.FETCH)]
            assert sum(event.at - event.started_at for event in worked) <= checkin.sql
            assert sum(event.kind is Kind.STATEMENT and Flag.SKIPPED not in event.flags for event in worked) == (
                checkin.statements
            )
    assert found == expected
    opened = [event for event in captured.of(Kind.CONNECT) if Flag.ERROR not in event.flags]
    closed = captured.of(Kind.CLOSE)
    assert {event.connection for event in opened} == {event.connection for event in closed}
    assert len(opened) == len(closed)
    return [next(event for event in events if event.kind in (Kind.CHECKOUT, Kind.REFUSED)) for events in ledger]


def assert_the_answers_fit(captured: Captured, answers: list[SimpleNamespace], server: dict[int, int]) -> None:
    """`server`: which session the server said it was, by the number of the request; empty without a server."""
    for number, session in server.items():
        assert answers[number].backend_pid == session
    assert Flag.FRESH in answers[0].flags
    assert answers[0].connect > 0
    assert answers[3].wait >= 0.2e9, "it waited for its timeout"
    assert answers[4].ping > 0
    assert answers[4].connect == 0
    assert next(event.transactions for event in captured.of(Kind.CHECKIN)) == 1
    if server:
        assert Flag.FRESH in answers[5].flags, "the ping failed, another was opened"
        assert min(answers[5].ping, answers[5].connect) > 0


@pytest.mark.server
@pytest.mark.parametrize("driver", SYNC)
def test_sync_a_life_with_each_driver(tmp_path: Path, driver: str, backend: Backend) -> None:
    engine = sa.create_engine(backend.url, poolclass=sa.QueuePool, **POOL)
    nowhere = sa.create_engine(backend.nowhere, poolclass=sa.QueuePool)
    server: dict[int, int] = {}
    expected = []

    def say(number: int, connection: sa.Connection) -> None:
        if backend.session is not None:
            server[number] = connection.scalar(backend.session)

    def held() -> None:
        with engine.begin() as connection:
            expected.append(("returned", "held", here(-1)))
            connection.execute(SELECT)
            say(0, connection)

    def nested() -> None:
        with engine.connect() as outer:
            expected.append(("returned", "nested", here(-1)))
            with engine.connect() as inner:
                expected.append(("returned", "nested", here(-1)))
                say(1, outer)
                say(2, inner)
                with pytest.raises(sa.exc.TimeoutError):
                    engine.connect()
                expected.append(("timed_out", "nested", here(-1)))

    def pinged() -> None:
        with engine.connect() as connection:
            expected.append(("returned", "pinged", here(-1)))
            say(4, connection)

    def lost_while_idle() -> None:
        for session in {server[1], server[2]}:
            backend.end(session)
        with engine.connect() as connection:
            expected.append(("returned", "lost_while_idle", here(-1)))
            say(5, connection)

    def lost_while_held() -> None:
        with engine.connect() as connection:
            expected.append(("invalidated", "lost_while_held", here(-1)))
            say(6, connection)
            backend.end(server[6])
            with pytest.raises(sa.exc.DBAPIError):
                connection.execute(SELECT)

    def refused() -> None:
        with pytest.raises(sa.exc.OperationalError):
            nowhere.connect()
        expected.append(("failed", "refused", here(-1)))

    with capture(tmp_path) as captured:
        held()
        nested()
        pinged()
        if backend.session is not None:
            lost_while_idle()
            lost_while_held()
        refused()
        engine.dispose()
    functions = [(end, f"test_sync_a_life_with_each_driver.<locals>.{name}", line) for end, name, line in expected]
    answers = assert_the_ledger_balances(captured, functions)
    assert_the_answers_fit(captured, answers, server)


@pytest.mark.server
@pytest.mark.parametrize("driver", ASYNC)
def test_async_a_life_with_each_driver(  # noqa: C901 - one chapter after the other
    tmp_path: Path, driver: str, backend: Backend
) -> None:
    server: dict[int, int] = {}
    expected = []

    async def say(number, connection):
        if backend.session is not None:
            server[number] = await connection.scalar(backend.session)

    async def held(engine):
        async with engine.begin() as connection:
            expected.append(("returned", "held", here(-1)))
            await connection.execute(SELECT)
            await say(0, connection)

    async def nested(engine):
        async with engine.connect() as outer:
            expected.append(("returned", "nested", here(-1)))
            async with engine.connect() as inner:
                expected.append(("returned", "nested", here(-1)))
                await say(1, outer)
                await say(2, inner)
                with pytest.raises(sa.exc.TimeoutError):
                    await engine.connect()
                expected.append(("timed_out", "nested", here(-1)))

    async def pinged(engine):
        async with engine.connect() as connection:
            expected.append(("returned", "pinged", here(-1)))
            await say(4, connection)

    async def lost_while_idle(engine):
        for session in {server[1], server[2]}:
            await asyncio.to_thread(backend.end, session)
        async with engine.connect() as connection:
            expected.append(("returned", "lost_while_idle", here(-1)))
            await say(5, connection)

    async def lost_while_held(engine):
        async with engine.connect() as connection:
            expected.append(("invalidated", "lost_while_held", here(-1)))
            await say(6, connection)
            await asyncio.to_thread(backend.end, server[6])
            with pytest.raises(sa.exc.DBAPIError):
                await connection.execute(SELECT)

    async def cancelled_while_it_waits(engine):
        async with engine.connect():
            expected.append(("returned", "cancelled_while_it_waits", here(-1)))
            async with engine.connect():
                expected.append(("returned", "cancelled_while_it_waits", here(-1)))
                task = asyncio.create_task(waits(engine))
                await until(lambda: engine.sync_engine.pool._pool._queue._getters)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    async def waits(engine):
        expected.append(("cancelled", "waits", here(1)))
        await engine.connect()

    async def cancelled_while_it_holds(engine):
        task = asyncio.create_task(holds(engine))
        await until(lambda: engine.sync_engine.pool.checkedout() and expected[-1][1] == "holds")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def holds(engine):
        async with engine.connect() as connection:
            expected.append(("cancelled", "holds", here(-1)))
            if backend.sleep is not None:
                await connection.execute(backend.sleep)
            await asyncio.sleep(60)

    async def refused(engine):
        with pytest.raises((sa.exc.OperationalError, OSError)):
            await engine.connect()
        expected.append(("failed", "refused", here(-1)))

    async def main():
        engine = create_async_engine(backend.url, **POOL)
        nowhere = create_async_engine(backend.nowhere)
        await held(engine)
        await nested(engine)
        await pinged(engine)
        if backend.session is not None:
            await lost_while_idle(engine)
            await lost_while_held(engine)
        await cancelled_while_it_waits(engine)
        await cancelled_while_it_holds(engine)
        await refused(nowhere)
        await engine.dispose()
        await until(lambda: not aiosqlite_threads())

    with capture(tmp_path) as captured:
        asyncio.run(main())
    functions = [(end, f"test_async_a_life_with_each_driver.<locals>.{name}", line) for end, name, line in expected]
    answers = assert_the_ledger_balances(captured, functions)
    assert_the_answers_fit(captured, answers, server)


def aiosqlite_threads():
    """Its threads, which say to the loop that they end: they must do so while there is one."""
    return [thread for thread in threading.enumerate() if "_connection_worker" in thread.name]


async def until(true):
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)
