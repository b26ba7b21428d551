"""Pool settings are read from and put into SQLAlchemy's real pools; what a pool class does not know is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, StaticPool

from poolctl.errors import UsageError
from poolctl.target.pools import engine_arguments, resize, settings
from poolctl.target.spec import TargetSpec
from poolctl.trace.report import PoolSettings


def sqlite(tmp_path: Any, **arguments: Any) -> AsyncEngine:
    return create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db", **arguments)


def test_settings_are_read_as_they_were_given(tmp_path: Any) -> None:
    engine = sqlite(
        tmp_path,
        pool_size=3,
        max_overflow=4,
        pool_timeout=1.5,
        pool_recycle=60,
        pool_pre_ping=True,
        pool_use_lifo=True,
    )
    assert settings(engine.sync_engine.pool) == PoolSettings(3, 4, 1.5, 60, True, True)


def test_a_pool_of_size_0_is_one_without_limit(tmp_path: Any) -> None:
    read = settings(sqlite(tmp_path, pool_size=0).sync_engine.pool)
    assert (read.pool_size, read.max_overflow, read.capacity) == (0, -1, float("inf"))


@pytest.mark.parametrize("pool", [NullPool, StaticPool])
def test_a_pool_without_a_size_has_no_settings(tmp_path: Any, pool: Any) -> None:
    assert settings(sqlite(tmp_path, poolclass=pool).sync_engine.pool) == PoolSettings()


@pytest.mark.parametrize("pool", [NullPool, StaticPool])
def test_overrides_that_the_pool_class_does_not_know_are_refused(tmp_path: Any, pool: Any) -> None:
    engine = sqlite(tmp_path, poolclass=pool)
    with pytest.raises(UsageError, match=rf"{pool.__name__} has no pool_size, pool_timeout"):
        asyncio.run(resize(engine, TargetSpec(engine="a:b", pool_size=3, pool_timeout_s=1.0)))
    assert asyncio.run(resize(engine, TargetSpec(engine="a:b"))) is engine


def test_overrides_have_the_names_that_create_async_engine_knows(tmp_path: Any) -> None:
    spec = TargetSpec(pool_size=1, max_overflow=2, pool_timeout_s=3, pool_recycle_s=4, pre_ping=True, lifo=True)
    assert settings(sqlite(tmp_path, **engine_arguments(spec)).sync_engine.pool) == PoolSettings(1, 2, 3, 4, True, True)


class TheirPool(AsyncAdaptedQueuePool):
    """A pool of an application's own."""


def test_a_resized_pool_keeps_its_class_its_listeners_and_what_was_not_overridden(tmp_path: Any) -> None:
    engine = sqlite(tmp_path, poolclass=TheirPool, pool_size=3, pool_recycle=60, pool_pre_ping=True)
    seen: list[str] = []
    event.listen(engine.sync_engine, "checkout", lambda *_: seen.append("engine"))
    event.listen(engine.sync_engine.pool, "checkout", lambda *_: seen.append("pool"))

    async def use() -> None:
        async with engine.connect():
            pass  # leaves an idle connection in the old pool
        assert await resize(engine, TargetSpec(engine="a:b", pool_size=1, max_overflow=0, pool_timeout_s=0.2)) is engine
        seen.clear()
        async with engine.connect():
            with pytest.raises(Exception, match="QueuePool limit of size 1 overflow 0 reached"):
                await engine.connect()
        await engine.dispose()

    asyncio.run(use())
    pool = engine.sync_engine.pool
    assert type(pool) is TheirPool
    assert sorted(seen) == ["engine", "pool"]
    assert settings(pool) == PoolSettings(1, 0, 0.2, 60, True, False)


@pytest.mark.parametrize(
    ("before", "override", "after"),
    [
        ({"pool_size": 0}, {"pool_size": 5}, (5, 0)),
        ({"pool_size": 5, "max_overflow": -1}, {"pool_size": 3}, (3, -1)),
        ({"pool_size": 5, "max_overflow": 7}, {"pool_size": 0}, (0, -1)),
        ({"pool_size": 5, "max_overflow": 7}, {"max_overflow": 0}, (5, 0)),
    ],
)
def test_size_and_overflow_mean_after_resizing_what_they_mean_to_sqlalchemy(
    tmp_path: Any, before: dict[str, int], override: dict[str, int], after: tuple[int, int]
) -> None:
    engine = asyncio.run(resize(sqlite(tmp_path, **before), TargetSpec(engine="a:b", **override)))
    read = settings(engine.sync_engine.pool)
    assert (read.pool_size, read.max_overflow) == after
    assert engine.sync_engine.pool.overflow() == -after[0]  # type: ignore[attr-defined]
