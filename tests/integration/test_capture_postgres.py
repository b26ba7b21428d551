"""Capture on a real PostgreSQL, with each driver that is here: what capture says agrees with what the server says."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings

import pytest
import sqlalchemy as sa
from captured import capture
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from poolctl.trace.events import Flag, Kind

pytestmark = pytest.mark.server

SELECT = sa.text("select 1")
PID = sa.text("select pg_backend_pid()")
ASYNC = ["asyncpg", "psycopg"]


def url(postgres_url, driver):
    return postgres_url.replace("asyncpg", driver)


@pytest.mark.parametrize("driver", ASYNC)
def test_async_the_backend_pid_is_the_servers_and_costs_no_query(tmp_path, postgres_url, driver):
    async def main():
        engine = create_async_engine(url(postgres_url, driver))
        async with engine.connect() as connection:
            pid = await connection.scalar(PID)
        await engine.dispose()
        return pid

    with capture(tmp_path) as captured:
        pid = asyncio.run(main())
    assert captured.of(Kind.CHECKOUT)[0].backend_pid == captured.of(Kind.CONNECT)[0].backend_pid == pid
    assert captured.of(Kind.CHECKIN)[0].statements == 1


def test_sync_the_backend_pid_is_the_servers(tmp_path, postgres_url):
    engine = sa.create_engine(url(postgres_url, "psycopg"))
    with capture(tmp_path) as captured, engine.connect() as connection:
        pid = connection.scalar(PID)
    engine.dispose()
    assert captured.of(Kind.CHECKOUT)[0].backend_pid == pid


@pytest.mark.parametrize("driver", ASYNC)
def test_async_the_parts_of_a_hold_are_where_the_time_went(tmp_path, postgres_url, driver):
    async def main():
        engine = create_async_engine(url(postgres_url, driver), pool_size=1, max_overflow=0, pool_pre_ping=True)
        async with engine.connect():
            pass

        async def hold(sql, idle):
            async with engine.begin() as connection:
                await connection.execute(sa.text(f"select pg_sleep({sql})"))
                await asyncio.sleep(idle)

        await asyncio.gather(hold(0.05, 0.1), hold(0, 0))
        await engine.dispose()

    with capture(tmp_path) as captured:
        asyncio.run(main())
    _, first, second = captured.of(Kind.CHECKIN)
    _, checkout, waited = captured.of(Kind.CHECKOUT)
    hold = first.at - checkout.at
    assert first.sql >= 0.05e9
    assert hold - first.sql >= 0.09e9, "idle in hold"
    assert waited.wait >= 0.14e9
    assert checkout.ping > 0
    assert checkout.wait == 0
    assert (first.transactions, second.transactions) == (1, 1)
    assert waited.at >= first.at


@pytest.mark.filterwarnings("ignore:.*BaseConnection.__del__:pytest.PytestUnraisableExceptionWarning")  # psycopg's word
@pytest.mark.parametrize("driver", ASYNC)
def test_async_a_cancelled_statement_a_killed_backend_and_a_dropped_connection(tmp_path, postgres_url, driver):
    async def main():
        engine = create_async_engine(url(postgres_url, driver), pool_size=2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), engine.connect() as connection:  # time enough to get to the statement
                await connection.execute(sa.text("select pg_sleep(30)"))
        async with engine.connect() as victim, engine.connect() as killer:
            pid = await victim.scalar(PID)
            await killer.execute(sa.text(f"select pg_terminate_backend({pid})"))
            with pytest.raises(sa.exc.DBAPIError):
                await victim.execute(SELECT)
        dropped = await engine.connect()
        await dropped.execute(SELECT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sa.exc.SAWarning)
            del dropped
            gc.collect()
        async with engine.connect() as connection:
            await connection.execute(SELECT)
        await engine.dispose()

    with capture(tmp_path) as captured:
        asyncio.run(main())
    assert captured.ends() == ["cancelled", "invalidated", "returned", "abandoned", "returned"]
    errors = [statement for statement in captured.of(Kind.STATEMENT) if Flag.ERROR in statement.flags]
    assert captured.name("error", errors[0].error).endswith("CancelledError")
    assert captured.of(Kind.CLOSE)[-1].open == 0


def test_async_rows_streamed_from_the_server_count_as_sql(tmp_path, postgres_url):
    async def main():
        engine = create_async_engine(postgres_url)
        async with engine.connect() as connection:
            result = await connection.stream(sa.text("select i, pg_sleep(0.001) from generate_series(1, 200) i"))
            assert len([row async for row in result]) == 200
        await engine.dispose()

    with capture(tmp_path) as captured:
        asyncio.run(main())
    (checkin,) = captured.of(Kind.CHECKIN)
    assert checkin.sql >= 0.2e9
    assert captured.of(Kind.FETCH)


def test_async_two_engines_at_once_are_two_pools(tmp_path, postgres_url):
    async def use(engine):
        for _ in range(20):
            async with engine.connect() as connection:
                await connection.execute(SELECT)

    async def main():
        engines = create_async_engine(postgres_url), create_async_engine(postgres_url, poolclass=NullPool)
        await asyncio.gather(*(use(engine) for engine in engines for _ in range(3)))
        for engine in engines:
            await engine.dispose()

    with capture(tmp_path) as captured:
        asyncio.run(main())
    assert captured.ends() == ["returned"] * 120
    classes = [captured.names["pool"][checkout.pool]["class"] for checkout in captured.of(Kind.CHECKOUT)]
    assert classes.count("NullPool") == classes.count("AsyncAdaptedQueuePool") == 60
    assert len(captured.of(Kind.CONNECT)) == len(captured.of(Kind.CLOSE)) == 63


def test_sync_threads_never_hold_more_than_there_is(tmp_path, postgres_url):
    engine = sa.create_engine(url(postgres_url, "psycopg"), pool_size=2, max_overflow=1)

    def use():
        for _ in range(30):
            with engine.connect() as connection:
                connection.execute(SELECT)

    with capture(tmp_path) as captured:
        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert next(iter(captured.installed.watch.pools.values())).checked_out == engine.pool.checkedout() == 0
        engine.dispose()
    assert captured.ends() == ["returned"] * 240
    changes = sorted(
        [(event.at, 1) for event in captured.of(Kind.CHECKOUT)]
        + [(event.at, -1) for event in captured.of(Kind.CHECKIN)]
    )
    held = 0
    for _, change in changes:
        held += change
        assert 0 <= held <= 3
    assert {request.task for request in captured.of(Kind.REQUEST)} == {thread.ident for thread in threads}


def test_capture_on_and_off_under_load_disturbs_no_request(tmp_path, postgres_url):
    async def use(engine, stop):
        done = 0
        while not stop.is_set():
            async with engine.connect() as connection:
                assert await connection.scalar(SELECT) == 1
            done += 1
        return done

    async def main():
        engine = create_async_engine(postgres_url, pool_size=3, max_overflow=0)
        stop = asyncio.Event()
        users = [asyncio.create_task(use(engine, stop)) for _ in range(6)]
        ledgers = []
        for n in range(8):
            (tmp_path / str(n)).mkdir()
            with capture(tmp_path / str(n), ring_records=4096) as captured:
                await asyncio.sleep(0.03)
            ledgers.append(captured)
        stop.set()
        assert sum(await asyncio.gather(*users)) > 0
        await engine.dispose()
        return ledgers

    for captured in asyncio.run(main()):
        ends = captured.ends()
        assert set(ends) <= {"returned", "open"}
        assert ends.count("open") <= 6
