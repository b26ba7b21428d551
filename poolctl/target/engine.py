"""From a TargetSpec to an engine: opened, described, checked.

In: a TargetSpec with a URL or a `module:attribute`. Out: an AsyncEngine whose pool has the settings asked for, its
facts as a TargetInfo, or one clear error. Opens no connection except in `check` and `connect`.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from poolctl.errors import UsageError
from poolctl.redact import redact
from poolctl.target import failures, permission, pools, probes, user_engine
from poolctl.target.spec import OVERRIDES, TargetSpec
from poolctl.trace.report import ServerInfo, TargetInfo

LOAD_NAME = "poolctl-load"
"""application_name of the sessions that carry the load (PostgreSQL, where poolctl makes the engine)."""

CONNECT_S = 5.0
"""Seconds a server may take to let us in."""

ASYNC_DRIVERS = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mariadb+asyncmy",
    "sqlite": "sqlite+aiosqlite",
    "oracle": "oracle+oracledb_async",
    "mssql": "mssql+aioodbc",
}
"""The driver to advise, by what stands before `+` or `:` in a URL."""


async def open_engine(spec: TargetSpec) -> AsyncEngine:
    """Return the engine of `spec`, on the event loop that will use it; dispose of it when done.

    Raises UsageError for a target or a pool setting that cannot work, ConfigError for a missing driver.
    """
    if spec.engine is not None:
        return await pools.resize(await user_engine.find(spec.engine), spec)
    if spec.url is None:
        raise UsageError("no target: the embedded PostgreSQL is not running", "start it, or name a target with --url")
    url = parse_url(spec.url)
    dialect: Any = url.get_dialect(_is_async=True)
    pools.refuse_unknown(dialect.get_pool_class(url), spec)
    return _create(url, spec, connect_args=name_tag(url, LOAD_NAME), **pools.engine_arguments(spec))


def parse_url(text: str) -> URL:
    """Return `text` as a URL with an async driver. Raises UsageError, never showing a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UsageError(
            f"cannot read {redact(text)!r} as a database URL",
            "write it as postgresql+asyncpg://user:password@host:5432/database; percent-encode / : @ in a password",
        ) from None
    family, _, driver = url.drivername.partition("+")
    advice = f"begin the URL with {ASYNC_DRIVERS.get(family, 'postgresql+asyncpg')}://"
    if not driver:
        # SQLAlchemy's own choice differs by version (psycopg2, psycopg) and is a sync one mostly: never guess.
        raise UsageError(f"{redact(text)!r} names no driver, and a load test needs an async one", advice)
    try:
        dialect = url.get_dialect(_is_async=True)
    except NoSuchModuleError:
        raise UsageError(f"SQLAlchemy knows no driver {url.drivername!r}", advice) from None
    if not dialect.is_async:
        raise UsageError(f"the driver {url.drivername!r} is a sync one, and a load test needs an async one", advice)
    return url


def describe(engine: AsyncEngine | Engine) -> TargetInfo:
    """Return the facts of `engine`: dialect, driver, pool class and settings; the server's are not in it."""
    pool = engine.sync_engine.pool if isinstance(engine, AsyncEngine) else engine.pool
    return TargetInfo(
        dialect=engine.dialect.name,
        driver=engine.dialect.driver,
        pool_class=type(pool).__name__,
        settings=pools.settings(pool),
    )


def look_at_engine(spec: TargetSpec) -> TargetInfo:
    """Open the engine of `spec`, a sync one too, describe it, and let it go; for a thread without an event loop.

    Raises what `open_engine` raises.
    """

    async def look() -> TargetInfo:
        if spec.engine is not None and not pools.overrides(spec):
            found = await user_engine.find(spec.engine, sync=True)
            if isinstance(found, Engine):
                return describe(found)
        engine = await open_engine(spec)
        try:
            return describe(engine)
        finally:
            await engine.dispose()

    return asyncio.run(look())


def check(spec: TargetSpec, patience_s: float = CONNECT_S) -> ServerInfo:
    """Connect once and return what the server says of itself, waiting up to `patience_s` seconds for each answer.

    For a thread without a running event loop. Raises TargetError when the server cannot be used, UsageError or
    ConfigError when the target itself is wrong, or is on another machine and nobody said `--yes`.
    """
    return asyncio.run(_check(spec, patience_s))


async def _check(spec: TargetSpec, patience_s: float) -> ServerInfo:
    engine = await watch_engine(spec)
    threads = set(threading.enumerate())
    permission.refuse_distant(spec, permission.hosts(engine.url))
    try:
        connection = await connect(engine, patience_s)
        try:
            # A creator and PGHOST may lead elsewhere than the URL says: then only the server knows where it is.
            hosts = await asyncio.wait_for(connection.run_sync(probes.where), patience_s)
            permission.refuse_distant(spec, hosts)
            return await asyncio.wait_for(connection.run_sync(probes.server_info), patience_s)
        finally:
            await connection.close()
    except Exception as error:  # noqa: BLE001 - drivers raise what they like
        if engine.dialect.driver == "aiosqlite":
            # Its thread still reports to this loop after a failed connect, and prints a traceback once that is closed.
            for thread in set(threading.enumerate()) - threads:
                await asyncio.to_thread(thread.join, patience_s)
        raise failures.explain(error, spec.shown, engine.url.render_as_string(hide_password=False)) from None
    finally:
        await engine.dispose()


async def watch_engine(spec: TargetSpec) -> AsyncEngine:
    """Return an engine beside the target's own, without a pool: for poolctl's watcher. The driver has to be async."""
    if spec.url is None:
        theirs = await open_engine(spec.with_pool(**dict.fromkeys(OVERRIDES)))
        return AsyncEngine(without_pool(theirs.sync_engine))
    return beside(parse_url(spec.url), spec)


def without_pool(theirs: Engine) -> Engine:
    """Return an engine with their creator, dialect and listeners, so their credentials too; not with their pool."""
    pool = theirs.pool
    watch = NullPool(pool._creator, dialect=theirs.dialect, _dispatch=pool.dispatch)  # noqa: SLF001 - no public way
    return Engine(watch, theirs.dialect, theirs.url)


def beside(url: URL, spec: TargetSpec) -> AsyncEngine:
    """Return an engine of poolctl's own for `url`, which names an async driver."""
    return _create(url, spec, connect_args=name_tag(url, probes.WATCH_NAME), poolclass=NullPool)


async def connect(engine: AsyncEngine, patience_s: float = CONNECT_S) -> AsyncConnection:
    """Open a watcher's connection, read-only where the dialect can. Raises what the driver raises."""
    async with asyncio.timeout(patience_s):
        connection = await engine.connect()
        if engine.dialect.name == "postgresql":
            await connection.execution_options(postgresql_readonly=True)
        return connection


def _create(url: URL, spec: TargetSpec, **arguments: Any) -> AsyncEngine:
    try:
        return create_async_engine(url, **arguments)
    except (SQLAlchemyError, ImportError, TypeError, ValueError) as error:
        raise failures.explain(error, spec.shown, spec.url) from None


def name_tag(url: URL, name: str) -> dict[str, Any]:
    """Return the connect_args that make the server show our sessions as `name`; none where the user named them."""
    if url.get_driver_name() in ("pymysql", "aiomysql", "asyncmy") and "program_name" not in url.query:
        return {"program_name": name}
    if url.get_backend_name() != "postgresql" or "application_name" in url.query:
        return {}
    if url.get_driver_name() == "asyncpg":
        return {"server_settings": {"application_name": name}}
    return {"application_name": name} if url.get_driver_name().startswith("psycopg") else {}
