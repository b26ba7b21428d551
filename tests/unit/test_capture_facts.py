"""What a pool says of itself: which engine it belongs to, whether it is asked on an event loop, no secret."""

from __future__ import annotations

import asyncio
import gc

import sqlalchemy as sa

from poolctl.capture.facts import describe_pool, engine_number


def test_an_engine_keeps_its_number_through_dispose_and_another_never_gets_it() -> None:
    engine = sa.create_engine("sqlite://")
    first = engine_number(engine.pool._dialect)
    engine.dispose()
    assert engine_number(engine.pool._dialect) == first
    seen = {first}
    for _ in range(50):  # addresses are used again, numbers are not
        made = sa.create_engine("sqlite://")
        seen.add(engine_number(made.pool._dialect))
        del made
        gc.collect()
    assert len(seen) == 51


def test_a_dialect_that_cannot_be_referred_to_has_a_number_all_the_same() -> None:
    class Odd:
        __slots__ = ()

    odd = Odd()
    assert engine_number(odd) == engine_number(odd) == id(odd)


def test_a_sync_pool_says_whether_an_event_loop_runs_where_it_is_met() -> None:
    engine = sa.create_engine("postgresql+psycopg://me:hunter22@db/shop")

    async def met() -> bool:
        return bool(describe_pool(engine.pool, engine)["in_loop"])

    assert describe_pool(engine.pool, engine)["in_loop"] is False
    assert asyncio.run(met()) is True
    assert describe_pool(engine.pool, engine)["async"] is False
    assert describe_pool(engine.pool, engine)["url"] == "postgresql+psycopg://me@db/shop"
    assert "hunter22" not in str(describe_pool(engine.pool, engine))
