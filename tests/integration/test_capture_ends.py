"""Every end a lease can meet, on SQLAlchemy's own pools with sqlite: what happened is what capture says."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings

import pytest
import sqlalchemy as sa
from captured import capture
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import AssertionPool, NullPool, QueuePool, SingletonThreadPool, StaticPool

from poolctl.trace.events import Flag, Kind

SELECT = sa.text("select 1")
pytestmark = pytest.mark.filterwarnings(  # Python 3.13's word on connections that a test leaves to the collector
    "ignore:.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning", "ignore:unclosed database:ResourceWarning"
)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/data.db"


@pytest.fixture
def async_url(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path}/data.db"


def test_a_returned_connection_tells_its_times_and_what_was_done_with_it(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured, engine.begin() as connection:
        connection.execute(SELECT)
        connection.execute(SELECT)
    engine.dispose()
    assert captured.ends() == ["returned"]
    (checkin,) = captured.of(Kind.CHECKIN)
    (checkout,) = captured.of(Kind.CHECKOUT)
    assert (checkin.statements, checkin.transactions) == (2, 1)
    assert Flag.FRESH in checkout.flags
    assert 0 < checkout.connect <= checkout.at - captured.of(Kind.REQUEST)[0].at
    statements = captured.of(Kind.STATEMENT)
    assert [Flag.SKIPPED in statement.flags for statement in statements] == [False, False, True]
    assert checkin.sql == sum(statement.at - statement.started_at for statement in statements)
    assert checkin.sql + checkin.checkin <= checkin.at - checkout.at
    assert checkin.reset <= checkin.checkin


def test_the_second_checkout_of_a_connection_is_not_fresh_and_has_the_same_number(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured:
        for _ in range(2):
            with engine.connect():
                pass
    first, second = captured.of(Kind.CHECKOUT)
    assert first.connection == second.connection > 0
    assert Flag.FRESH in first.flags
    assert Flag.FRESH not in second.flags
    assert second.connect == second.wait == second.ping == 0


def test_an_engine_made_and_used_before_capture_began_is_seen_all_the_same(tmp_path, url):
    engine = sa.create_engine(url, pool_size=2, max_overflow=1)
    before = engine.connect()
    with capture(tmp_path) as captured, engine.connect() as connection:
        connection.execute(SELECT)
        before.close()
    assert captured.ends() == ["returned"]
    assert captured.of(Kind.REQUEST)[0].checked_out == 1
    assert captured.names["pool"][1]["settings"] == {
        "pool_size": 2,
        "max_overflow": 1,
        "pool_timeout_s": 30.0,
        "pool_recycle_s": None,
        "pre_ping": False,
        "lifo": False,
    }


def test_a_connection_beyond_pool_size_is_overflow(tmp_path, url):
    engine = sa.create_engine(url, pool_size=1, max_overflow=1)
    with capture(tmp_path) as captured, engine.connect(), engine.connect():
        pass
    assert [Flag.OVERFLOW in checkout.flags for checkout in captured.of(Kind.CHECKOUT)] == [False, True]
    assert len(captured.of(Kind.CLOSE)) == 1
    assert captured.of(Kind.CLOSE)[0].open == 1


def test_a_thread_that_waits_in_vain_times_out_and_its_wait_is_the_whole_of_it(tmp_path, url):
    engine = sa.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with capture(tmp_path) as captured, engine.connect(), pytest.raises(sa.exc.TimeoutError):
        engine.connect()
    assert captured.ends() == ["returned", "timed_out"]
    (refused,) = captured.of(Kind.REFUSED)
    assert refused.wait >= 50_000_000
    assert refused.checked_out == 1
    assert captured.name("error", refused.error) == "sqlalchemy.exc.TimeoutError"


def test_a_thread_that_waits_for_another_has_a_wait_and_the_hold_of_the_other_ends_before_its_own_begins(tmp_path, url):
    engine = sa.create_engine(url, pool_size=1, max_overflow=0, connect_args={"check_same_thread": False})
    asked = threading.Event()

    def wait():
        asked.set()
        engine.connect().close()

    with capture(tmp_path) as captured:
        connection = engine.connect()
        other = threading.Thread(target=wait)
        other.start()
        asked.wait()
        while not next(iter(captured.installed.watch.pools.values())).waiting:
            pass
        connection.close()
        other.join()
    first, second = captured.of(Kind.CHECKIN)
    waited = captured.of(Kind.CHECKOUT)[1]
    assert waited.wait > 0
    assert first.at <= waited.at <= second.at


def test_a_failed_first_connect_ends_the_request_and_is_told_with_its_time(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/no/such/directory/x.db")
    with capture(tmp_path) as captured, pytest.raises(sa.exc.OperationalError):
        engine.connect()
    assert captured.ends() == ["failed"]
    (connect,) = captured.of(Kind.CONNECT)
    (refused,) = captured.of(Kind.REFUSED)
    assert Flag.ERROR in connect.flags
    assert connect.lease == refused.lease
    assert refused.connect == connect.connect > 0
    assert captured.name("error", refused.error) == "sqlite3.OperationalError"


def test_a_failed_ping_with_a_reconnect_is_one_returned_lease(tmp_path, url):
    engine = sa.create_engine(url, pool_pre_ping=True)
    with engine.connect():
        pass
    with capture(tmp_path) as captured:
        engine.dialect.do_ping = lambda _: False
        with engine.connect() as connection:
            connection.execute(SELECT)
    assert captured.ends() == ["returned"]
    (checkout,) = captured.of(Kind.CHECKOUT)
    assert checkout.connect > 0
    assert Flag.FRESH in checkout.flags


def test_the_ping_is_timed_and_skipped_on_a_fresh_connection(tmp_path, url):
    engine = sa.create_engine(url, pool_pre_ping=True)
    with capture(tmp_path) as captured:
        for _ in range(2):
            with engine.connect():
                pass
    fresh, tested = captured.of(Kind.CHECKOUT)
    assert fresh.ping == 0
    assert tested.ping > 0


def test_a_failed_ping_with_a_failed_reconnect_ends_the_request(tmp_path, url):
    engine = sa.create_engine(url, pool_pre_ping=True)
    with engine.connect():
        pass

    def refuse(*_args, **_more):
        raise engine.dialect.dbapi.OperationalError("gone")

    with capture(tmp_path) as captured:
        engine.dialect.do_ping = lambda _: False
        engine.dialect.connect = refuse
        with pytest.raises(sa.exc.OperationalError):
            engine.connect()
        del engine.dialect.do_ping, engine.dialect.connect
        with engine.connect():
            pass
    assert captured.ends() == ["failed", "returned"]


def test_recycling_counts_as_connecting(tmp_path, url):
    engine = sa.create_engine(url, pool_recycle=0)
    with engine.connect():
        pass
    with capture(tmp_path) as captured, engine.connect():
        pass
    (checkout,) = captured.of(Kind.CHECKOUT)
    assert Flag.FRESH in checkout.flags
    assert checkout.connect > captured.of(Kind.CONNECT)[0].connect - 1


def test_the_close_of_what_another_invalidated_is_a_part_of_the_wait_and_not_of_connecting_too(tmp_path, url):
    engine = sa.create_engine(url, pool_size=1, max_overflow=0, connect_args={"check_same_thread": False})
    asked = threading.Event()

    def close_slowly(dbapi_connection):
        time.sleep(0.05)
        dbapi_connection.close()

    def wait():
        asked.set()
        engine.connect().close()

    with capture(tmp_path) as captured:
        connection = engine.connect()
        engine.dialect.do_terminate = close_slowly
        other = threading.Thread(target=wait)
        other.start()
        asked.wait()
        while not next(iter(captured.installed.watch.pools.values())).waiting:
            pass
        connection.invalidate()
        other.join()
        connection.close()
    request, checkout = captured.of(Kind.REQUEST)[1], captured.of(Kind.CHECKOUT)[1]
    assert checkout.wait >= 45_000_000
    assert checkout.connect > 0
    assert checkout.wait + checkout.connect <= checkout.at - request.at


def test_an_invalidated_connection_is_told_and_its_number_is_never_used_again(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured:
        with engine.connect() as connection:
            connection.invalidate()
        with engine.connect():
            pass
    assert captured.ends() == ["invalidated", "returned"]
    first, second = captured.of(Kind.CHECKOUT)
    assert first.connection != second.connection
    assert captured.of(Kind.INVALIDATE)[0].lease == first.lease


def test_a_detached_connection_ends_its_lease_and_is_closed_later(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured:
        connection = engine.connect()
        connection.detach()
        assert captured.poll()[-1].kind is not Kind.CLOSE
        connection.execute(SELECT)
        connection.close()
    assert captured.ends() == ["detached"]
    (close,) = captured.of(Kind.CLOSE)
    assert close.connection == captured.of(Kind.DETACH)[0].connection
    assert close.open == 0


def test_a_detached_connection_that_is_dropped_is_closed_by_the_collector_and_counted(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured:
        connection = engine.raw_connection()
        connection.detach()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del connection
            gc.collect()
    assert captured.ends() == ["detached"]
    assert [close.open for close in captured.of(Kind.CLOSE)] == [0]


def test_a_dropped_sync_connection_is_abandoned_though_the_pool_gets_it_back(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured:
        connection = engine.connect()
        connection.execute(SELECT)
        del connection
        gc.collect()
        with engine.connect():
            pass
    assert captured.ends() == ["abandoned", "returned"]
    assert captured.of(Kind.CHECKIN)[0].statements == 1


def test_a_connection_still_out_at_the_end_is_open(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured:
        connection = engine.connect()
        connection.execute(SELECT)
    connection.close()
    assert captured.ends() == ["open"]
    assert len(captured.of(Kind.STATEMENT)) == 1, "removal writes what was put off"


def test_connections_out_at_a_dispose_return_to_the_old_pool(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured:
        connection = engine.connect()
        engine.dispose()
        with engine.connect():
            pass
        connection.close()
    assert captured.ends() == ["returned", "returned"]
    old, new = (captured.names["pool"][checkout.pool] for checkout in captured.of(Kind.CHECKOUT))
    assert old["n"] != new["n"]
    assert old["engine"] == new["engine"]


@pytest.mark.parametrize("pool", [NullPool, AssertionPool, SingletonThreadPool, StaticPool, QueuePool])
def test_every_pool_class_balances(tmp_path, url, pool):
    engine = sa.create_engine(url, poolclass=pool)
    with capture(tmp_path) as captured:
        for _ in range(3):
            with engine.connect() as connection:
                connection.execute(SELECT)
        engine.dispose()
    assert captured.ends() == ["returned"] * 3
    assert [checkin.statements for checkin in captured.of(Kind.CHECKIN)] == [1, 1, 1]


def test_a_thread_that_enters_its_singleton_connection_twice_holds_one_lease(tmp_path):
    engine = sa.create_engine("sqlite://")
    with capture(tmp_path) as captured, engine.connect() as outer:
        with engine.connect() as inner:
            inner.execute(SELECT)
        outer.execute(SELECT)
    assert captured.ends() == ["returned"]
    assert captured.of(Kind.CHECKIN)[0].statements == 2


def test_holders_of_a_static_pool_end_each_for_itself(tmp_path, url):
    engine = sa.create_engine(url, poolclass=StaticPool)
    with capture(tmp_path) as captured:
        first, second = engine.connect(), engine.connect()
        first.execute(SELECT)
        second.execute(SELECT)
        first.close()
        assert captured.poll()
        assert sorted(captured.ends()) == ["open", "returned"]
        second.close()
        third = engine.raw_connection()
        del third
        gc.collect()
    assert captured.ends() == ["returned", "returned", "abandoned"]


def test_a_pool_class_that_overrides_connect_makes_one_request(tmp_path, url):
    class Own(QueuePool):
        def connect(self):
            return super().connect()

    engine = sa.create_engine(url, poolclass=Own)
    with capture(tmp_path) as captured, engine.connect():
        pass
    assert captured.ends() == ["returned"]


def test_a_listener_that_asks_for_a_connection_itself_does_not_mix_the_times(tmp_path, url):
    engine, other = sa.create_engine(url), sa.create_engine(url, poolclass=NullPool)

    @sa.event.listens_for(engine, "checkout")
    def ask(*_):
        with other.connect():
            pass

    with capture(tmp_path) as captured:
        for _ in range(2):
            with engine.connect():
                pass
    assert captured.ends() == ["returned"] * 4
    checkouts = {checkout.lease: checkout for checkout in captured.of(Kind.CHECKOUT)}
    assert checkouts[3].connect == 0, "the second time, the listener's connect is not the request's"
    assert checkouts[4].connect > 0


def test_an_orm_session_is_seen_with_its_commits(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured, Session(engine) as session:
        session.execute(SELECT)
        session.commit()
        session.execute(SELECT)
        session.rollback()
    assert captured.ends() == ["returned", "returned"]
    assert [checkin.transactions for checkin in captured.of(Kind.CHECKIN)] == [1, 1]


def test_a_statement_that_fails_is_a_statement_with_its_error(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured, engine.connect() as connection, pytest.raises(sa.exc.OperationalError):
        connection.execute(sa.text("select * from nowhere"))
    statement = captured.of(Kind.STATEMENT)[0]
    assert Flag.ERROR in statement.flags
    assert captured.name("error", statement.error) == "sqlite3.OperationalError"
    assert captured.of(Kind.CHECKIN)[0].statements == 1


def test_the_text_of_a_statement_is_kept_without_its_literals(tmp_path, url):
    engine = sa.create_engine(url)
    with capture(tmp_path) as captured, engine.connect() as connection:
        connection.execute(sa.text("select 'it''s secret', 42  where 1 = 1"))
    assert captured.names["statement"][1]["text"] == "select ?, ? where ? = ?"


def test_a_literal_in_dollar_quotes_is_not_kept_either(tmp_path):
    with capture(tmp_path) as captured:
        captured.recorder.statement("select $$hush$$, $x$hush $$ hush$x$, $1")
    assert captured.names["statement"][1]["text"] == "select ?, ?, $?"


def test_rows_fetched_from_the_cursor_count_as_sql(tmp_path, url):
    engine = sa.create_engine(url)
    rows = sa.text("with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) select i from n")
    with capture(tmp_path) as captured, engine.connect() as connection:
        assert len(connection.execute(rows).fetchall()) == 20000
    (fetch,) = captured.of(Kind.FETCH)
    assert captured.of(Kind.CHECKIN)[0].sql >= fetch.at - fetch.started_at > 0


# The other side of the greenlet.


def run(main):
    """Run a coroutine, then let the abandoned be collected."""
    asyncio.run(main)
    gc.collect()


def test_async_a_task_that_waits_in_vain_times_out(tmp_path, async_url):
    async def main():
        engine = create_async_engine(async_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
        async with engine.connect():
            with pytest.raises(sa.exc.TimeoutError):
                await engine.connect()
        await engine.dispose()

    with capture(tmp_path) as captured:
        run(main())
    assert captured.ends() == ["returned", "timed_out"]
    assert captured.of(Kind.REFUSED)[0].wait >= 50_000_000


def test_async_a_task_cancelled_while_it_waits(tmp_path, async_url):
    async def main():
        engine = create_async_engine(async_url, pool_size=1, max_overflow=0)
        async with engine.connect():
            task = asyncio.create_task(engine.connect().start())
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await engine.dispose()

    with capture(tmp_path) as captured:
        run(main())
    assert captured.ends() == ["returned", "cancelled"]
    assert captured.of(Kind.REFUSED)[0].wait > 1_000_000


@pytest.mark.parametrize("busy", [True, False], ids=["in a statement", "outside of one"])
def test_async_a_task_cancelled_while_it_holds(tmp_path, async_url, busy):
    slow = sa.text(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000000) select max(i) from n"
    )

    async def hold(engine, begun):
        async with engine.connect() as connection:
            begun.set()
            if busy:
                await connection.execute(slow)
            await asyncio.sleep(60)

    async def main():
        engine = create_async_engine(async_url)
        begun = asyncio.Event()
        task = asyncio.create_task(hold(engine, begun))
        await begun.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.dispose()

    with capture(tmp_path) as captured:
        run(main())
    assert captured.ends() == ["cancelled"]
    assert (Flag.INVALIDATED in captured.of(Kind.CHECKIN)[0].flags) == busy


def test_async_a_dropped_connection_is_abandoned(tmp_path, async_url):
    async def main():
        engine = create_async_engine(async_url)
        connection = await engine.connect()
        await connection.execute(SELECT)
        with pytest.warns(sa.exc.SAWarning, match="garbage collector"):  # noqa: PT031 - two steps
            del connection
            gc.collect()
        async with engine.connect():
            pass
        await engine.dispose()

    with capture(tmp_path) as captured:
        run(main())
    assert captured.ends() == ["abandoned", "returned"]
    assert captured.of(Kind.DETACH)[0].statements == 1


def test_async_detached_invalidated_and_overflow(tmp_path, async_url):
    async def main():
        engine = create_async_engine(async_url, pool_size=1, max_overflow=2)
        first, second, third = [await engine.connect() for _ in range(3)]
        raw = await first.get_raw_connection()
        raw.detach()
        await second.invalidate()
        for connection in (first, second, third):
            await connection.close()
        await engine.dispose()

    with capture(tmp_path) as captured:
        run(main())
    assert captured.ends() == ["detached", "invalidated", "returned"]
    assert [Flag.OVERFLOW in checkout.flags for checkout in captured.of(Kind.CHECKOUT)] == [False, True, True]
    assert min(event.open for event in captured.of(Kind.CLOSE)) == 0


def test_async_a_session_that_checks_out_lazily(tmp_path, async_url):
    async def main():
        engine = create_async_engine(async_url)
        async with AsyncSession(engine) as session:
            await session.execute(SELECT)
            await session.commit()
        await engine.dispose()

    with capture(tmp_path) as captured:
        run(main())
    assert captured.ends() == ["returned"]


@pytest.mark.parametrize("pool", [NullPool, StaticPool, AssertionPool])
def test_async_every_pool_class_balances(tmp_path, async_url, pool):
    async def main():
        engine = create_async_engine(async_url, poolclass=pool)
        for _ in range(3):
            async with engine.connect() as connection:
                await connection.execute(SELECT)
        await engine.dispose()

    with capture(tmp_path) as captured:
        run(main())
    assert captured.ends() == ["returned"] * 3


def test_async_tasks_that_wait_for_each_other_never_hold_more_than_there_is(tmp_path, async_url):
    async def use(engine):
        async with engine.connect() as connection:
            await connection.execute(SELECT)

    async def main():
        engine = create_async_engine(async_url, pool_size=2, max_overflow=1)
        await asyncio.gather(*(use(engine) for _ in range(20)))
        await engine.dispose()

    with capture(tmp_path) as captured:
        run(main())
    assert captured.ends() == ["returned"] * 20
    changes = sorted(
        [(event.at, 1) for event in captured.of(Kind.CHECKOUT)]
        + [(event.at, -1) for event in captured.of(Kind.CHECKIN)]
    )
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    assert 2 <= peak <= 3  # the third may still be connecting when all is done
    assert max(request.waiting for request in captured.of(Kind.REQUEST)) > 0
    assert sum(checkout.wait > 0 for checkout in captured.of(Kind.CHECKOUT)) >= 10
