"""The application of `sick_async` with sync endpoints, on threads and psycopg: `uvicorn sick_sync:app`."""

from __future__ import annotations

import os
import time
import urllib.request

from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection

SELECT = text("select 1")

engine = create_engine(os.environ["DATABASE_URL"], pool_size=8, max_overflow=4, pool_timeout=3)
app = FastAPI()
if os.environ.get("ATTACH"):
    import poolctl

    poolctl.attach(engine if os.environ["ATTACH"] == "engine" else None)
kept: list[Connection] = []


@app.get("/healthy")
def healthy() -> int:
    with engine.connect() as connection:  # healthy
        connection.execute(SELECT)
    return os.getpid()


@app.get("/leak")
def leak() -> int:
    connection = engine.connect()  # leak
    connection.execute(SELECT)
    kept.append(connection)
    return len(kept)


@app.get("/idle")
def idle() -> str:
    with engine.connect() as connection:  # idle
        connection.execute(SELECT)
        with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PARTNER_PORT']}/") as answer:
            answer.read()
        connection.execute(SELECT)
    return "held"


@app.get("/nested")
def nested() -> str:
    with engine.connect() as outer:  # outer
        outer.execute(SELECT)
        with engine.connect() as inner:  # nested
            inner.execute(SELECT)
    return "two"


@app.get("/blocked")
async def blocked() -> str:
    with engine.connect() as connection:  # blocked
        connection.execute(SELECT)
        time.sleep(0.4)
    return "late"
