"""Which line asked: sync, across the greenlet, through a session, a context manager, a helper, an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect

import pytest
import sqlalchemy as sa
from captured import capture
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from poolctl.capture import scope
from poolctl.trace.events import Kind

SELECT = sa.text("select 1")
pytestmark = pytest.mark.filterwarnings(  # Python 3.13's word on connections that a test leaves to the collector
    "ignore:.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning", "ignore:unclosed database:ResourceWarning"
)


@pytest.fixture
def engine(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    yield engine
    engine.dispose()


@pytest.fixture
def async_url(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path}/x.db"


def here(offset=0):
    """The line of the caller, and its function."""
    frame = inspect.currentframe().f_back
    return frame.f_lineno + offset, frame.f_code.co_qualname


def sites(captured):
    """(line, function) of each request."""
    found = [captured.site(request) for request in captured.of(Kind.REQUEST)]
    assert all(site["file"] == __file__ for site in found)
    return [(site["line"], site["function"]) for site in found]


def test_the_line_that_calls_connect(tmp_path, engine):
    with capture(tmp_path) as captured:
        engine.connect().close()
        expected = here(-1)
    assert sites(captured) == [expected]


def test_the_line_that_uses_a_session_which_checks_out_lazily(tmp_path, engine):
    with capture(tmp_path) as captured, Session(engine) as session:
        session.begin()
        session.execute(SELECT)
        expected = here(-1)
    assert sites(captured) == [expected]


def test_the_line_in_a_generator_context_manager_not_contextlib(tmp_path, engine):
    @contextlib.contextmanager
    def connected():
        with engine.connect() as connection:
            yield connection, here(-1)

    with capture(tmp_path) as captured, connected() as (_, expected):
        pass
    assert sites(captured) == [expected]


def test_the_stack_comes_with_the_first_sight_of_a_site(tmp_path, engine):
    def inner():
        engine.connect().close()

    def outer():
        inner()

    with capture(tmp_path) as captured:
        outer()
    stack = captured.site(captured.of(Kind.REQUEST)[0])["stack"]
    assert [function.rpartition(".")[2] for _, _, function in stack][:2] == ["inner", "outer"]


def test_one_line_that_asks_often_is_one_site(tmp_path, engine):
    with capture(tmp_path) as captured:
        for _ in range(5):
            engine.connect().close()
    assert len(captured.names["site"]) == 1


def test_modules_named_to_be_skipped_never_ask(tmp_path, engine):
    namespace = {"__name__": "shop.database", "engine": engine}
    exec(compile("def connect():\n    return engine.connect()", "shop/database.py", "exec"), namespace)  # noqa: S102
    with capture(tmp_path, skip=("shop.database",)) as captured:
        namespace["connect"]().close()
        expected = here(-1)
    assert sites(captured) == [expected]


def test_the_awaiting_line_on_the_other_side_of_the_greenlet(tmp_path, async_url):
    expected = []

    async def inner(engine):
        async with engine.connect() as connection:
            expected.append(here(-1))
            await connection.execute(SELECT)

    async def main():
        engine = create_async_engine(async_url)
        await inner(engine)
        await inner(engine)
        connection = await engine.connect()
        expected.append(here(-1))
        await connection.close()
        async with AsyncSession(engine) as session:
            await session.execute(SELECT)
            expected.append(here(-1))
        await engine.dispose()

    with capture(tmp_path) as captured:
        asyncio.run(main())
    assert sites(captured) == expected


def test_the_line_of_a_task_that_had_to_wait(tmp_path, async_url):
    expected = []

    async def use(engine):
        expected.append(here(1))
        async with engine.connect():
            await asyncio.sleep(0.005)

    async def main():
        engine = create_async_engine(async_url, pool_size=1, max_overflow=0)
        await asyncio.gather(*(use(engine) for _ in range(3)))
        await engine.dispose()

    with capture(tmp_path) as captured:
        asyncio.run(main())
    assert sites(captured) == expected


def test_the_line_inside_of_run_sync(tmp_path, async_url):
    expected = []

    def plain(session):
        session.execute(SELECT)
        expected.append(here(-1))

    async def main():
        engine = create_async_engine(async_url)
        async with AsyncSession(engine) as session:
            await session.run_sync(plain)
        await engine.dispose()

    with capture(tmp_path) as captured:
        asyncio.run(main())
    assert sites(captured) == expected


def test_a_task_of_the_frameworks_alone_has_no_site_rather_than_the_line_that_runs_the_loop(tmp_path, async_url):
    async def main():
        engine = create_async_engine(async_url)
        connection = engine.connect()
        task = asyncio.ensure_future(connection.start())
        await task
        await connection.close()
        await engine.dispose()

    with capture(tmp_path) as captured:
        asyncio.run(main())
    assert captured.of(Kind.REQUEST)[0].site == 0


def test_a_scope_gives_its_name_and_what_a_generator_says_of_the_work_item(tmp_path, engine):
    with capture(tmp_path) as captured:
        with scope("buy", site=("shop.py", 12, "buy"), intended_at=5, item=7, client=3):
            engine.connect().close()
        with scope("outer"):
            with scope("inner"):
                engine.connect().close()
            engine.connect().close()
        engine.connect().close()
    first, inner, outer, none = captured.of(Kind.REQUEST)
    assert captured.name("context", first.context) == "buy"
    assert (first.intended_at, first.item) == (5, 7)
    site = captured.site(first)
    assert (site["file"], site["line"], site["function"]) == ("shop.py", 12, "buy")
    assert [captured.name("context", request.context) for request in (inner, outer)] == ["inner", "outer"]
    assert none.context == 0


def test_a_scope_reaches_through_tasks_and_the_greenlet_and_no_further(tmp_path, async_url):
    async def use(engine, name):
        with scope(name):
            async with engine.connect():
                await asyncio.sleep(0.002)

    async def main():
        engine = create_async_engine(async_url)
        await asyncio.gather(use(engine, "a"), use(engine, "b"))
        async with engine.connect():
            pass
        await engine.dispose()

    with capture(tmp_path) as captured:
        asyncio.run(main())
    names = [request.context and captured.name("context", request.context) for request in captured.of(Kind.REQUEST)]
    assert names == ["a", "b", 0]


def test_each_task_has_its_own_number(tmp_path, async_url):
    async def use(engine):
        async with engine.connect():
            await asyncio.sleep(0.01)

    async def main():
        engine = create_async_engine(async_url)
        await asyncio.gather(use(engine), use(engine))
        await engine.dispose()

    with capture(tmp_path) as captured:
        asyncio.run(main())
    first, second = captured.of(Kind.REQUEST)
    assert first.task != second.task
    assert 0 not in (first.task, second.task)
