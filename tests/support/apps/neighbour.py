"""An application that does one thing wrong with its server or its proxy: `neighbour.py WHAT`, until the file `STOP`.

In: `DATABASE_URL`, `STOP` and the options of `create_async_engine` as JSON in `ENGINE`. Each defect is on the line that
is marked with its name, so that a test can say which line must be found.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

URL = os.environ["DATABASE_URL"]
STOP = Path(os.environ["STOP"])
BEHIND_PGBOUNCER = {"statement_cache_size": 0, "prepared_statement_name_func": lambda: f"__{uuid.uuid4()}__"}

engine = create_async_engine(
    URL, connect_args=BEHIND_PGBOUNCER if "asyncpg" in URL else {}, **json.loads(os.environ.get("ENGINE", "{}"))
)


async def until_stopped() -> None:
    while not STOP.exists():
        await asyncio.sleep(0.02)


async def busy(pause: float = 0.05) -> None:
    """Eight clients that ask for the same short statement, over and over."""

    async def client() -> None:
        while not STOP.exists():
            try:
                async with engine.connect() as connection:  # busy
                    await connection.execute(text("select pg_sleep(0.1)"))
            except Exception:  # noqa: BLE001 - drivers raise what they like when the other side is away
                await asyncio.sleep(pause)

    await asyncio.gather(*(client() for _ in range(8)))


async def quiet() -> None:
    """One client with a long pause between its two requests."""
    for pause in (float(os.environ["PAUSE"]), 0):
        try:
            async with engine.connect() as connection:  # quiet
                await connection.execute(text("select 1"))
        except DBAPIError:
            print("died", flush=True)
        await asyncio.sleep(pause)


async def reserve(taken: asyncio.Event) -> None:
    async with engine.begin() as connection:  # reserve
        await connection.execute(text("update stock set n = n - 31415926 where id = 1"))
        taken.set()
        await until_stopped()


async def buy(taken: asyncio.Event) -> None:
    await taken.wait()
    async with engine.begin() as connection:  # buy
        await connection.execute(text("update stock set n = n - 1 where id = 1"))


async def locks() -> None:
    """One holds a row and does something else; others want it."""
    async with engine.begin() as connection:
        await connection.execute(text("create table stock (id int primary key, n int)"))
        await connection.execute(text("insert into stock values (1, 10)"))
    taken = asyncio.Event()
    await asyncio.gather(reserve(taken), buy(taken), buy(taken))


async def orphan() -> None:
    """A caller gives up, and the statement runs on."""

    async def slow() -> None:
        async with engine.connect() as connection:  # orphan
            await connection.execute(text("select sleep(30)"))

    async with engine.connect() as connection:  # so that the time below is the statement's
        await connection.execute(text("select 1"))
    try:
        await asyncio.wait_for(slow(), 1)
    except (TimeoutError, DBAPIError):
        print("gave up", flush=True)
    await until_stopped()


WHAT: dict[str, Callable[[], Awaitable[None]]] = {"busy": busy, "quiet": quiet, "locks": locks, "orphan": orphan}


async def main() -> None:
    await WHAT[sys.argv[1]]()
    await engine.dispose()


asyncio.run(main())
