"""Beside: poolctl's own one connection to a server, beside the application's pool, through whatever driver is there.

In: a TargetSpec. Out: answers to questions, each a function of a SQLAlchemy Connection. Async drivers answer on the
event loop, sync ones (psycopg2, PyMySQL, mysqlclient) on a thread each time. Named as poolctl's where the server shows
names, read-only where it can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.engine import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import NullPool

from poolctl.errors import UsageError
from poolctl.redact import redact
from poolctl.target import failures, probes, user_engine
from poolctl.target.engine import ASYNC_DRIVERS, CONNECT_S, beside, name_tag, without_pool
from poolctl.target.spec import TargetSpec

CLOSE_S = 3.0

DRIVERS = {
    "postgresql": ("asyncpg", "psycopg", "psycopg2"),
    "mysql": ("asyncmy", "aiomysql", "pymysql", "MySQLdb"),
    "mariadb": ("asyncmy", "aiomysql", "pymysql", "MySQLdb"),
}
"""What is taken when a URL names no driver: the first that is installed."""
NAMES = {"MySQLdb": "mysqldb"}
"""SQLAlchemy's name of a driver, where it is not its module's."""

OURS = {
    "postgresql": f"set application_name = '{probes.WATCH_NAME}'",
    "mysql": "set session transaction read only",
    "mariadb": "set session transaction read only",
}
"""What is said first, by dialect."""

Answer = TypeVar("Answer")


class Beside:
    """The connection. For one event loop; one question at a time."""

    def __init__(self, spec: TargetSpec) -> None:
        self._spec = spec
        self._engine: AsyncEngine | Engine | None = None
        self._connection: AsyncConnection | Connection | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    async def connect(self, patience_s: float = CONNECT_S) -> None:
        """Open the connection, unless it is open. Raises what the driver raises, UsageError for a bad target."""
        if self._connection is not None:
            return
        if self._engine is None:
            self._engine = await _engine(self._spec)
        engine = self._engine
        async with asyncio.timeout(patience_s):
            if isinstance(engine, AsyncEngine):
                opened: AsyncConnection | Connection = await engine.connect()
            else:
                opened = await on_a_thread(engine.connect)
            self._connection = opened
            await self.ask(_introduce)

    async def ask(self, question: Callable[[Connection], Answer]) -> Answer:
        """Return the answer. Raises what the driver raises."""
        connection = self._connection
        if isinstance(connection, AsyncConnection):
            return await connection.run_sync(question)
        assert connection is not None  # noqa: S101 - connected first
        return await on_a_thread(lambda: question(connection))

    async def disconnect(self) -> None:
        """Drop the connection; asks nothing of a server that may be gone or frozen."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                if isinstance(connection, AsyncConnection):
                    await connection.invalidate()
                    await connection.close()
                else:
                    await on_a_thread(connection.invalidate)
                    await on_a_thread(connection.close)

    async def dispose(self) -> None:
        """Drop everything."""
        await self.disconnect()
        if isinstance(self._engine, AsyncEngine):
            await self._engine.dispose()


async def on_a_thread(work: Callable[[], Answer]) -> Answer:
    """Do `work` on a thread of its own, which nobody waits for when the loop has given up on it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Answer] = loop.create_future()

    def tell(set_it: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            set_it(value)

    def run() -> None:
        try:
            done, value = future.set_result, work()
        except BaseException as error:  # noqa: BLE001 - handed on
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody wants to know
                loop.call_soon_threadsafe(tell, future.set_exception, error)
            return
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, done, value)

    threading.Thread(target=run, name="poolctl-server-question", daemon=True).start()
    return await future


def url_of(given: str) -> URL:
    """Return `given` with a driver that is installed. Raises UsageError, never showing a password."""
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise UsageError(
            f"cannot read {redact(given)!r} as a database URL",
            "write it as postgresql://user:password@host:5432/database; percent-encode / : @ in a password",
        ) from None
    family, _, driver = url.drivername.partition("+")
    family = "postgresql" if family == "postgres" else family
    if not driver:
        there = [name for name in DRIVERS.get(family, ()) if importlib.util.find_spec(name)]
        driver = NAMES.get(there[0], there[0]) if there else ASYNC_DRIVERS.get(family, "").partition("+")[2]
        url = url.set(drivername=f"{family}+{driver}" if driver else family)
    try:
        url.get_dialect()
    except NoSuchModuleError:
        advice = ASYNC_DRIVERS.get(family, "postgresql+asyncpg")
        raise UsageError(f"SQLAlchemy knows no driver {url.drivername!r}", f"begin the URL with {advice}://") from None
    return url


async def _engine(spec: TargetSpec) -> AsyncEngine | Engine:
    if spec.url is None:
        theirs = await user_engine.find(spec.engine or "", sync=True)
        if isinstance(theirs, AsyncEngine):
            return AsyncEngine(without_pool(theirs.sync_engine))
        return without_pool(theirs)
    url = url_of(spec.url)
    if url.get_dialect().is_async or url.get_driver_name() == "psycopg":  # psycopg is both
        return beside(url, spec)
    try:
        return create_engine(url, poolclass=NullPool, connect_args=name_tag(url, probes.WATCH_NAME))
    except (SQLAlchemyError, ImportError, TypeError, ValueError) as error:
        raise failures.explain(error, spec.shown, spec.url) from None


def _introduce(connection: Connection) -> None:
    statement = OURS.get(connection.dialect.name)
    if statement is not None:
        connection.execute(text(statement))
        connection.commit()
    if connection.dialect.name == "postgresql":
        connection.execution_options(postgresql_readonly=True)
