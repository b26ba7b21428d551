"""Leases of every kind and end, captured: `every_end.py DIRECTORY [interpreted]` prints what capture says, as JSON.

In: a directory to write to. Out: how the compiled modules were found, and the records, in the order of each lease,
without what another run has otherwise: times, and which task or thread it was.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from contextlib import suppress
from pathlib import Path

from interpreted import MODULES, use

DIRECTORY = Path(sys.argv[1])
if sys.argv[2:] == ["interpreted"]:
    use()


import sqlalchemy as sa  # noqa: E402
from captured import capture  # noqa: E402
from sqlalchemy.ext.asyncio import create_async_engine  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402
from sqlalchemy.pool import NullPool, StaticPool  # noqa: E402

from poolctl.trace.events import Kind  # noqa: E402

SELECT = sa.text("select 1")
COMPARED = (
    "connection",
    "backend_pid",
    "context",
    "item",
    "waiting",
    "checked_out",
    "open",
    "statements",
    "transactions",
)


def threaded(url: str) -> None:
    engine = sa.create_engine(url, pool_size=2, max_overflow=1, pool_timeout=0.05)
    for _ in range(70):  # one of 64 is sampled
        with engine.connect() as plain:
            plain.execute(SELECT)
    with engine.connect():
        pass
    with engine.begin() as several:
        several.execute(sa.text("create table t (n integer primary key)"))
        several.execute(sa.text("insert into t values (1)"))
        with several.begin_nested():
            several.execute(SELECT)
    with engine.connect() as again:
        again.execute(SELECT)
        again.commit()
        again.execute(SELECT)
        again.rollback()
    with engine.connect() as failing, suppress(sa.exc.IntegrityError):
        failing.execute(sa.text("insert into t values (1)"))
    with Session(engine) as session:
        session.execute(SELECT)
        session.commit()
    with engine.connect() as broken:
        broken.execute(SELECT)
        broken.invalidate()
    with engine.connect() as own:
        own.execute(SELECT)
        own.detach()
        own.execute(SELECT)
    with engine.connect(), engine.connect(), engine.connect() as beyond:
        beyond.execute(SELECT)
        with suppress(sa.exc.TimeoutError):
            engine.connect()
    forgotten = engine.raw_connection()
    forgotten.cursor().execute("select 1")
    del forgotten
    gc.collect()
    engine.dispose()


def pools(url: str) -> None:
    for kind in (NullPool, StaticPool):
        engine = sa.create_engine(url, poolclass=kind)
        for _ in range(2):
            with engine.connect() as connection:
                connection.execute(SELECT)
        engine.dispose()


async def tasks(url: str) -> None:
    engine = create_async_engine(url, pool_size=1, max_overflow=1)
    held = asyncio.Event()

    async def one() -> None:
        async with engine.connect() as connection:
            await connection.execute(SELECT)

    async def cancelled() -> None:
        async with engine.connect() as connection:
            await connection.execute(SELECT)
            held.set()
            await asyncio.Event().wait()

    await one()
    await asyncio.create_task(one())
    task = asyncio.create_task(cancelled())
    await held.wait()
    await one()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await engine.dispose()


with capture(DIRECTORY) as captured:
    threaded(f"sqlite:///{DIRECTORY}/data.db")
    pools(f"sqlite:///{DIRECTORY}/data.db")
    asyncio.run(tasks(f"sqlite+aiosqlite:///{DIRECTORY}/data.db"))

records = []
for record in sorted(captured.events, key=lambda record: record.lease):
    if record.kind in (Kind.RESET, Kind.FETCH, Kind.LAG):  # written, or not, by the time it took
        continue
    fields = vars(record)
    told = {name: fields[name] for name in COMPARED if name in fields}
    for name in ("statement", "error"):
        if fields.get(name):
            told[name] = captured.names[name][fields[name]]
    if record.site and record.kind is not Kind.STATEMENT:  # a statement's is looked for when it was long waited for
        told["site"] = captured.site(record)
    records.append({"kind": record.kind.name, "flags": int(record.flags), "lease": record.lease, **told})
files = [sys.modules[name].__file__ for name in MODULES]
json.dump({"files": files, "records": records}, sys.stdout, indent=1)
