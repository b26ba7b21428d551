"""A FastAPI application with planted defects, on an async engine: `DATABASE_URL`, `uvicorn sick_async:app`.

Each endpoint's defect is on the line marked with its name, so that a test can say which line must be found.
"""

from __future__ import annotations

import asyncio
import os
import time

from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

SELECT = text("select 1")

engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=8, max_overflow=4, pool_timeout=3)
app = FastAPI()
if os.environ.get("ATTACH"):
    import poolctl

    poolctl.attach(engine if os.environ["ATTACH"] == "engine" else None)
kept: list[AsyncConnection] = []


@app.get("/healthy")
async def healthy() -> int:
    async with engine.connect() as connection:  # healthy
        await connection.execute(SELECT)
    return os.getpid()


@app.get("/leak")
async def leak() -> int:
    connection = await engine.connect()  # leak
    await connection.execute(SELECT)
    kept.append(connection)
    return len(kept)


@app.get("/idle")
async def idle() -> str:
    async with engine.connect() as connection:  # idle
        await connection.execute(SELECT)
        await call_partner()
        await connection.execute(SELECT)
    return "held"


@app.get("/nested")
async def nested() -> str:
    async with engine.connect() as outer:  # outer
        await outer.execute(SELECT)
        async with engine.connect() as inner:  # nested
            await inner.execute(SELECT)
    return "two"


@app.get("/blocked")
async def blocked() -> str:
    async with engine.connect() as connection:  # blocked
        await connection.execute(SELECT)
        time.sleep(0.4)
    return "late"


async def call_partner() -> None:
    """Ask another service over HTTP, which takes its time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["PARTNER_PORT"]))
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    await writer.drain()
    await reader.read()
    writer.close()
