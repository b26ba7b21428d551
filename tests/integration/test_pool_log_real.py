"""Real pools, seen twice: what their log tells is what poolctl's own capture saw of the same run."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import time
import warnings
from pathlib import Path

import asyncpg
import psycopg_pool
import pytest
from logged import DATED, FULL, SECONDS, Both, assert_same_leases, ends, held, logging_to, seen_twice
from mariadb import SYNC_DRIVERS
from sqlalchemy import create_engine, event, exc, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, SingletonThreadPool, StaticPool

from poolctl.analysis.leases import tables
from poolctl.target.pool_log import read_log
from poolctl.trace.run import Run


class Json(logging.Formatter):
    def format(self, record):
        fields = {"timestamp": record.created, "logger": record.name, "message": record.getMessage()}
        return json.dumps({**fields, "process": record.process, "thread": record.thread})


FORMATS = {
    "recommended": {},
    "asctime": {"fmt": "%(asctime)s %(levelname)s %(name)s %(message)s", "datefmt": None},
    "lines": {"fmt": f"{DATED} [%(process)d] %(lineno)d %(module)s: %(message)s", "datefmt": "%Y-%m-%d %H:%M:%S"},
    "syslog": {
        "fmt": f"{DATED} web app[%(process)d]: %(threadName)s %(name)s %(message)s",
        "datefmt": "%b %d %H:%M:%S",
    },
    "json": {"formatter": Json()},
}


def in_threads(count: int, work) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def every_end_in_threads(engine) -> list:
    """Use a sync pool in every way; returns what is to stay open."""

    def work(n: int) -> None:
        for turn in range(6):
            with engine.connect() as connection:
                connection.execute(text("select 1"))
                time.sleep(0.001 * (n + turn))

    in_threads(4, work)
    kept = [engine.connect(), engine.connect()]
    kept[1].invalidate()
    kept.pop().close()
    detached = engine.connect()
    detached.detach()
    time.sleep(0.005)
    detached.close()
    forgotten = engine.raw_connection()
    time.sleep(0.005)
    del forgotten
    gc.collect()
    return kept


@pytest.mark.parametrize("name", FORMATS)
def test_the_log_of_a_threaded_pool_tells_what_capture_saw(tmp_path, name):
    with seen_twice(tmp_path, **FORMATS[name]) as both:
        engine = create_engine(f"sqlite:///{tmp_path}/a.db", pool_size=2, max_overflow=2)
        kept = every_end_in_threads(engine)
    resolved(both)
    assert_same_leases(both)
    kept[0].close()
    engine.dispose()


@pytest.mark.server
@pytest.mark.parametrize("driver", SYNC_DRIVERS)
def test_the_log_of_a_threaded_pool_on_mariadb_tells_what_capture_saw(tmp_path, mariadb, driver):
    with seen_twice(tmp_path) as both:
        engine = create_engine(mariadb.url(driver), pool_size=2, max_overflow=2)
        kept = every_end_in_threads(engine)
    resolved(both)
    assert_same_leases(both)
    assert both.summary.pools[0].driver == driver
    kept[0].close()
    engine.dispose()


def resolved(both: Both) -> None:
    """The one thing that no log tells: a connection of a sync pool that the garbage collector returned."""
    assert both.captured is not None
    found = both.captured.leases
    assert (found["end"] == "abandoned").sum() == 1
    both.captured.leases = found.assign(end=found["end"].astype(str).replace("abandoned", "returned"))


@pytest.mark.parametrize("pool_class", [NullPool, SingletonThreadPool])
def test_pools_without_a_queue_log_the_same_life(tmp_path, pool_class):
    with seen_twice(tmp_path) as both:
        engine = create_engine(f"sqlite:///{tmp_path}/a.db", poolclass=pool_class)

        def work(_n: int) -> None:
            for _ in range(3):
                with engine.connect() as connection:
                    connection.execute(text("select 1"))

        in_threads(3, work)
    assert_same_leases(both)
    assert both.summary.pools[0].pool_class == pool_class.__name__


def test_a_shared_connections_overlapping_leases_are_counted(tmp_path):
    with seen_twice(tmp_path) as both:
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        first, second = engine.connect(), engine.connect()
        time.sleep(0.01)
        first.close()
        second.close()
    assert ends(both.logged) == ends(both.captured) == {"returned": 2}


async def every_end_in_tasks(engine, kill) -> list:
    """Use an async pool in every way; returns what is to stay open."""

    async def work(n: int) -> None:
        for turn in range(4):
            async with engine.connect() as connection:
                await connection.execute(text("select 1"))
                await asyncio.sleep(0.001 * (n + turn))

    await asyncio.gather(*(work(n) for n in range(5)))

    async def slow() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("select pg_sleep(5)"))

    if kill is not None:
        task = asyncio.create_task(slow())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with engine.connect():
            pass
        await kill()  # found dead by the next ping
        async with engine.connect() as connection:
            await connection.execute(text("select 1"))
            await kill()  # and by its holder
            with pytest.raises(exc.DBAPIError):
                await connection.execute(text("select 1"))
    forgotten = await engine.connect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del forgotten
        gc.collect()
    detached = await engine.connect()
    raw = await detached.get_raw_connection()
    raw.detach()
    await asyncio.sleep(0.005)
    await detached.close()
    return [await engine.connect()]


def killer(url: str):
    """Return a coroutine function that ends every other session of the server's."""
    plain = url.replace("+asyncpg", "")

    async def kill() -> None:
        connection = await asyncpg.connect(plain)
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = current_user "
            "and pid <> pg_backend_pid() and application_name = 'log-mode'"
        )
        await connection.close()
        await asyncio.sleep(0.05)

    return kill


@pytest.mark.server
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")  # psycopg's, of those it drops
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("pre_ping", [True, False])
def test_the_log_of_an_async_pool_on_postgresql_tells_what_capture_saw(tmp_path, postgres_url, driver, pre_ping):
    arguments = {"application_name": "log-mode"}
    if driver == "asyncpg":
        arguments = {"server_settings": arguments}

    async def program():
        engine = create_async_engine(
            postgres_url.replace("asyncpg", driver),
            pool_size=2,
            max_overflow=2,
            pool_pre_ping=pre_ping,
            connect_args=arguments,
        )
        return await every_end_in_tasks(engine, killer(postgres_url) if pre_ping else None), engine

    loop = asyncio.new_event_loop()
    with seen_twice(tmp_path) as both:
        kept, engine = loop.run_until_complete(program())
    put_away(loop, kept, engine)
    assert_same_leases(both)
    expected = {"abandoned", "detached", "returned", "open"} | ({"cancelled", "invalidated"} if pre_ping else set())
    assert set(ends(both.logged)) == expected
    assert both.summary.pools[0].driver == driver
    replaced = held(both.captured)[held(both.captured)["connect_time_s"] > 0]
    measured = held(both.logged)["connect_time_s"].dropna()
    assert measured.max() <= replaced["connect_time_s"].max() + 0.002


def put_away(loop, kept, engine) -> None:
    """Close what the program kept, whatever became of the test: nothing of it may reach the next one."""
    loop.run_until_complete(kept[0].close())
    loop.run_until_complete(engine.dispose())
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def test_the_log_of_aiosqlite_tells_what_capture_saw(tmp_path):
    async def program() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db", pool_size=2, max_overflow=1)

        async def work(n: int) -> None:
            for _ in range(4):
                async with engine.connect() as connection:
                    await connection.execute(text("select 1"))
                    await asyncio.sleep(0.001 * n)

        await asyncio.gather(*(work(n) for n in range(5)))
        await engine.dispose()

    with seen_twice(tmp_path) as both:
        asyncio.run(program())
    assert_same_leases(both)
    assert both.summary.pools[0].driver == "aiosqlite"
    assert both.logged.pools[0].settings.pool_size == 2


@pytest.mark.server
def test_a_server_that_refuses_is_a_failed_request_without_a_secret(tmp_path, postgres_url):
    async def program() -> None:
        url = postgres_url.replace("/postgres", "/nosuchdatabase")
        engine = create_async_engine(url)
        for _ in range(2):
            with pytest.raises(Exception, match="nosuchdatabase"):
                await engine.connect()

        good = create_async_engine(postgres_url)
        async with good.connect():
            pass
        await good.dispose()

    with seen_twice(tmp_path) as both:
        asyncio.run(program())
    assert ends(both.logged) == ends(both.captured) == {"failed": 2, "returned": 1}
    written = b"".join(path.read_bytes() for path in (tmp_path / "logged").rglob("*") if path.is_file())
    assert b"nosuchdatabase" in both.log.read_bytes()
    assert b"nosuchdatabase" not in written


def test_debug_switched_on_and_off_in_mid_flight_makes_no_lease_of_its_own(tmp_path):
    logger = logging.getLogger("sqlalchemy.pool")
    with seen_twice(tmp_path) as both:
        engine = create_engine(f"sqlite:///{tmp_path}/a.db", pool_size=5)
        logger.setLevel(logging.WARNING)
        early = engine.connect()
        logger.setLevel(logging.DEBUG)
        seen = engine.connect()
        early.close()  # its checkout said nothing, so its return does not, either
        logger.setLevel(logging.WARNING)
        seen.close()
        logger.setLevel(logging.DEBUG)
        time.sleep(0.03)  # longer than two handlers need to write one message
        for _ in range(2):
            with engine.connect(), engine.connect():
                pass
    assert ends(both.captured) == {"returned": 6}
    assert ends(both.logged) == {"returned": 5}
    assert both.summary.unclear == 1


def test_a_log_that_was_cut_off_at_its_beginning_has_returns_without_checkouts(tmp_path):
    with seen_twice(tmp_path) as both:
        engine = create_engine(f"sqlite:///{tmp_path}/a.db", pool_size=3, max_overflow=0)
        connections = [engine.connect() for _ in range(3)]
        both.log.write_text("")
        for connection in connections:
            connection.close()
        with engine.connect():
            pass
    assert both.summary.orphans == 3
    assert ends(both.logged) == {"returned": 4}
    assert len(held(both.logged)) == 1


def test_two_handlers_in_two_formats_make_each_lease_once(tmp_path):
    second = logging.FileHandler(tmp_path / "pool.log")
    second.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    with seen_twice(tmp_path) as both:
        logging.getLogger("sqlalchemy.pool").addHandler(second)
        try:
            engine = create_engine(f"sqlite:///{tmp_path}/a.db", pool_size=2, max_overflow=2)
            kept = every_end_in_threads(engine)
        finally:
            logging.getLogger("sqlalchemy.pool").removeHandler(second)
            second.close()
    resolved(both)
    assert ends(both.logged) == ends(both.captured)
    assert both.summary.duplicates * 2 == both.summary.pool_lines
    kept[0].close()


def test_a_listener_that_refuses_a_connection_on_checkout_gets_another(tmp_path):
    with seen_twice(tmp_path) as both:
        engine = create_engine(f"sqlite:///{tmp_path}/a.db", pool_size=2)
        refusals = [True, False, True, True]

        @event.listens_for(engine, "checkout")
        def refuse(*_arguments):
            if refusals and refusals.pop(0):
                raise exc.DisconnectionError

        with engine.connect():
            time.sleep(0.005)
        with pytest.raises(exc.InvalidRequestError):
            engine.connect()
        refusals.clear()
        with engine.connect():
            pass
    assert ends(both.logged) == ends(both.captured) == {"returned": 2, "failed": 1}
    assert_same_leases(both)


def test_a_connect_listener_that_fails_fails_the_request(tmp_path):
    with seen_twice(tmp_path) as both:
        engine = create_engine(f"sqlite:///{tmp_path}/a.db", pool_size=2)
        failures = [True]

        @event.listens_for(engine, "connect")
        def fail(*_arguments):
            if failures and failures.pop():
                raise RuntimeError("not this one")

        with pytest.raises(RuntimeError):
            engine.connect()
        with engine.connect():
            pass
    assert ends(both.captured) == {"failed": 1, "returned": 1}
    assert ends(both.logged)["failed"] == 1


def test_timeouts_in_the_applications_log_are_refusals_and_tell_the_settings(tmp_path):
    logger = logging.getLogger("sqlalchemy.pool.app")
    with seen_twice(tmp_path, FULL, SECONDS) as both:
        engine = create_engine(f"sqlite:///{tmp_path}/a.db", pool_size=1, max_overflow=1, pool_timeout=0.05)
        first, second = engine.connect(), engine.connect()
        for _ in range(3):
            try:
                engine.connect()
            except exc.TimeoutError:
                logger.exception("request failed")
        first.close()
        second.close()
    assert ends(both.logged) == ends(both.captured) == {"returned": 2, "timed_out": 3}
    settings = both.logged.pools[0].settings
    assert (settings.pool_size, settings.max_overflow, settings.pool_timeout_s) == (1, 1, 0.05)
    assert both.logged.leases["wait_time_s"].isna().all()


def test_recycled_connections_are_opened_anew_for_their_request(tmp_path):
    with seen_twice(tmp_path) as both:
        engine = create_engine(f"sqlite:///{tmp_path}/a.db", pool_size=1, pool_recycle=0)
        for _ in range(3):
            with engine.connect():
                time.sleep(0.01)
        engine.dispose()
    assert_same_leases(both)
    assert held(both.logged)["fresh"].all()
    assert held(both.logged)["connect_time_s"].notna().all()


def test_a_reset_that_fails_ends_as_capture_says(tmp_path):
    with seen_twice(tmp_path) as both:
        engine = create_engine(f"sqlite:///{tmp_path}/a.db", pool_size=1)

        @event.listens_for(engine, "reset")
        def fail(dbapi_connection, _record, _state):
            if failures.pop():
                raise RuntimeError("no")

        failures = [False, True]
        for _ in range(2):
            raw = engine.raw_connection()
            raw.close()
    assert ends(both.logged) == ends(both.captured)
    assert_same_leases(both)


@pytest.mark.server
def test_the_log_of_psycopg_pool_tells_waits_and_holds(tmp_path, postgres_url):
    path = Path(tmp_path / "pool.log")
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(FULL, SECONDS))
    logger = logging.getLogger("psycopg.pool")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    waits: list[float] = []
    try:
        with psycopg_pool.ConnectionPool(
            postgres_url.replace("+asyncpg", ""), min_size=1, max_size=2, timeout=0.2, open=True
        ) as pool:
            pool.wait()

            def work(_n: int) -> None:
                for _ in range(3):
                    began = time.monotonic()
                    with pool.connection() as connection:
                        waits.append(time.monotonic() - began)
                        connection.execute("select 1")
                        time.sleep(0.01)

            in_threads(5, work)
            with pool.connection(), pool.connection():
                try:
                    pool.getconn()
                except psycopg_pool.PoolTimeout:
                    logger.exception("request failed")
            kept = pool.getconn()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        handler.close()
    kept.close()
    run = Run.create(tmp_path / "runs")
    summary = read_log(path, run)
    found = tables(run)
    assert ends(found) == {"returned": 17, "timed_out": 1, "open": 1}
    leases = held(found)
    threaded = leases["wait_time_s"].to_numpy()[:15]
    assert abs(sorted(threaded)[7] - sorted(waits)[7]) < 0.01
    assert (leases["hold_time_s"].dropna() >= 0.0).all()
    assert leases["hold_time_s"].to_numpy()[:15].min() >= 0.009
    assert found.pools[0].settings.pool_timeout_s == 0.2
    assert any("psycopg_pool" in line for line in summary.blind)
    assert not any("source" in line for line in summary.blind)


def test_logging_is_as_it_was_afterwards(tmp_path):
    logger = logging.getLogger("sqlalchemy.pool")
    before = (logger.level, logger.propagate, list(logger.handlers))
    with logging_to(tmp_path / "x.log"):
        pass
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
