"""The clinic: small applications, each with one thing wrong (or nothing): `DATABASE_URL=… python patients.py NAME`.

Written once, with await; its twin on threads is this text without it (`clinic.twin_of`), line for line. What the report
must say of a patient is in `tests/e2e/test_clinic.py`; a line that it must name is marked with that name.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from crowd import Tasks as Crowd
from crowd import leave
from sqlalchemy import create_engine as create_sync_engine
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

URL = os.environ["DATABASE_URL"]
crowd = Crowd()
kept = []


def pool(size, **more):
    return create_async_engine(URL, pool_size=size, **{"max_overflow": 0, "pool_timeout": 1, **more})


async def query(connection, seconds=0.002):
    """A statement that takes so long."""
    await connection.execute(text(f"select pg_sleep({seconds})"))


async def call_partner(seconds):
    """Another service."""
    await asyncio.sleep(seconds)


async def warm(engine, size):
    """Open the connections, as an application has them that has run for a while."""

    async def look():
        async with engine.connect() as connection:
            await query(connection, 0.3)

    for _ in range(size):
        crowd.start(look)
    await crowd.finish()


async def healthy():
    """Never more at once than there are connections, however slow the machine."""
    engine = pool(6)
    await warm(engine, 4)

    async def orders():
        async with engine.connect() as connection:
            await query(connection, 0.03)

    await crowd.work(orders, workers=4, seconds=5, pause=0.03)


async def hot_but_healthy():
    """Hardly a connection is ever idle, somebody always waits, and nobody for long."""
    engine = pool(8)
    await warm(engine, 8)

    async def orders():
        async with engine.connect() as connection:
            await query(connection, 0.03)

    await crowd.work(orders, workers=9, seconds=4, pause=0.008)


async def too_small():
    engine = pool(3)

    async def orders():
        async with engine.connect() as connection:  # orders
            await query(connection, 0.05)

    await crowd.arrive(orders, rate=15, seconds=2)
    await crowd.arrive(orders, rate=150, seconds=3)


async def burst():
    """Connections go, one after the other, and do not come back for a while: but they do. It looks like a leak."""
    engine = pool(6, pool_timeout=10)

    async def orders():
        async with engine.connect() as connection:  # orders
            await query(connection, 0.02)

    async def imports():
        async with engine.connect() as connection:  # imports
            for _ in range(15):
                await query(connection, 0.05)

    await crowd.arrive(orders, rate=20, seconds=2)
    for _ in range(30):
        crowd.start(imports)
    await crowd.arrive(orders, rate=20, seconds=3)


async def leaking():
    engine = pool(6)
    count = 0

    async def orders():
        async with engine.connect() as connection:
            await query(connection, 0.01)

    async def export():
        connection = await engine.connect()  # export
        await query(connection, 0.01)
        kept.append(connection)

    async def some():
        nonlocal count
        count += 1
        await (export() if count % 15 == 0 else orders())

    await crowd.arrive(some, rate=30, seconds=8)


async def leak_in_a_small_pool():
    """Two connections are few, but one that is lost is why they do not suffice."""
    engine = pool(2)
    count = 0

    async def orders():
        async with engine.connect() as connection:
            await query(connection, 0.02)

    async def export():
        connection = await engine.connect()  # export
        await query(connection)
        kept.append(connection)

    async def some():
        nonlocal count
        count += 1
        await (export() if count in (20, 40) else orders())

    await crowd.arrive(some, rate=25, seconds=8)


async def held_idle():
    engine = pool(5)

    async def checkout():
        async with engine.connect() as connection:  # checkout
            await query(connection)
            await call_partner(0.4)

    await crowd.arrive(checkout, rate=30, seconds=5)


async def database_slow():
    """Every statement takes twenty times as long from the middle on."""
    engine, began = pool(6), time.monotonic()

    async def orders():
        async with engine.connect() as connection:  # orders
            await query(connection, 0.01 if time.monotonic() < began + 2.5 else 0.4)

    await crowd.arrive(orders, rate=40, seconds=5.5)


async def slow_query():
    """One statement of many is slow, always was, and takes the pool from the others: it looks too small."""
    engine = pool(5)

    async def orders():
        async with engine.connect() as connection:  # orders
            await query(connection, 0.005)

    async def report():
        async with engine.connect() as connection:  # report
            await query(connection, 1.5)

    async def both():
        crowd.start(report)
        await crowd.arrive(orders, rate=40, seconds=0.15)

    for _ in range(35):
        await both()


async def lock_bound():
    """Everybody changes one row, and keeps it for a while."""
    engine = pool(6)
    async with engine.begin() as connection:
        await connection.execute(text("create table counters (id int primary key, value int)"))
        await connection.execute(text("insert into counters values (1, 0)"))

    async def count():
        async with engine.begin() as connection:  # count
            await connection.execute(text("update counters set value = value + 1 where id = 1"))
            await query(connection, 0.08)

    await crowd.arrive(count, rate=40, seconds=5)


async def lock_queue():
    """Everybody reads a table that a migration has locked: it looks like a slow database."""
    engine, other = pool(6), pool(1)
    async with engine.begin() as connection:
        await connection.execute(text("create table orders (id int primary key)"))

    async def orders():
        async with engine.connect() as connection:  # orders
            await connection.execute(text("select count(*) from orders"))

    async def migration():
        async with other.begin() as connection:  # migration
            await connection.execute(text("lock table orders in access exclusive mode"))
            await call_partner(3)

    await crowd.arrive(orders, rate=40, seconds=2)
    crowd.start(migration)
    await crowd.arrive(orders, rate=40, seconds=4)


async def blocked_loop():
    """Code that does not await; on threads it keeps nobody."""
    engine = pool(4)

    async def orders():
        async with engine.connect() as connection:
            await query(connection, 0.002)

    async def render():
        async with engine.connect() as connection:  # render
            await query(connection, 0.002)
            time.sleep(0.4)

    for _ in range(8):
        crowd.start(render)
        await crowd.arrive(orders, rate=100, seconds=0.6)


async def sync_in_loop():
    """A sync driver in a coroutine: while one request waits for the database, all do."""
    engine = create_sync_engine(URL.replace("+asyncpg", "+psycopg"), pool_size=5, max_overflow=0)

    async def orders():
        with engine.connect() as connection:  # orders
            connection.execute(text("select pg_sleep(0.02)"))

    await crowd.arrive(orders, rate=40, seconds=4)


async def busy_interpreter():
    """Threads that compute take turns with those whose statement has been answered."""
    engine, until = pool(3), time.monotonic() + 60

    async def orders():
        async with engine.connect() as connection:
            for _ in range(5):
                await query(connection, 0.0005)

    async def report():
        while time.monotonic() < until:
            sum(number * number for number in range(1000))

    for _ in range(6):
        crowd.start(report)
    await crowd.arrive(orders, rate=60, seconds=5)


async def small_executor():
    """Ten times as much work as its threads can do: it waits for a thread, and has not asked the pool yet."""
    engine = pool(20)

    async def orders():
        async with engine.connect() as connection:  # orders
            await query(connection, 0.05)

    await crowd.arrive_at_executor(orders, threads=4, rate=400, seconds=4)


async def nested():
    engine = pool(4)

    async def checkout():
        async with engine.connect() as outer:  # outer
            await query(outer, 0.02)
            async with engine.connect() as inner:  # inner
                await query(inner, 0.02)

    await crowd.arrive(checkout, rate=40, seconds=5)


async def nested_for_good():
    """A deadlock that no timeout ends: the connections are taken and never come back, as with a leak."""
    engine = pool(4, pool_timeout=60)

    async def orders():
        async with engine.connect() as connection:
            await query(connection, 0.01)

    async def checkout():
        async with engine.connect() as outer:  # outer
            await query(outer, 0.02)
            async with engine.connect() as inner:  # inner
                await query(inner, 0.02)

    await crowd.arrive(orders, rate=40, seconds=2)
    for _ in range(8):
        crowd.start(checkout)
    await crowd.arrive(orders, rate=10, seconds=6)


async def misconfigured():
    engine = create_async_engine(URL, poolclass=NullPool)

    async def orders():
        async with engine.connect() as connection:
            await query(connection)

    await crowd.arrive(orders, rate=25, seconds=4)


async def oversized():
    """Far below what it keeps, also when the machine stands still for a second and all arrive at once."""
    engine = pool(60)

    async def orders():
        async with engine.connect() as connection:
            await query(connection, 0.01)

    await crowd.arrive(orders, rate=15, seconds=7)
    await crowd.finish()


async def endless():
    """Like `held_idle`, until somebody has seen enough."""
    engine = pool(5)

    async def checkout():
        async with engine.connect() as connection:  # checkout
            await query(connection)
            await call_partner(0.4)

    await crowd.arrive(checkout, rate=30, seconds=600)


async def hardly_used():
    engine = pool(5)

    async def orders():
        async with engine.connect() as connection:
            await query(connection)

    await crowd.arrive(orders, rate=5, seconds=4)
    await crowd.finish()


async def main():
    await globals()[sys.argv[1]]()
    leave()


asyncio.run(main())
