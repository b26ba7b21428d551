"""Facts: what a pool and a driver's connection say about themselves without a query. Never a secret.

In: objects of SQLAlchemy's and of the driver's. Out: plain values; what cannot be read is left out.
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Callable
from typing import Any

from poolctl.capture.tasks import running_loop
from poolctl.clock import monotonic_ns

_engines: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_next_engine = itertools.count(1).__next__


def describe_pool(pool: Any, engine: Any) -> dict[str, Any]:
    """Return the names-file entry of a pool; `engine` is its Engine where known."""
    dialect = pool._dialect
    is_async = bool(getattr(dialect, "is_async", False))
    return {
        "class": type(pool).__name__,
        "dialect": getattr(dialect, "name", None),
        "driver": getattr(dialect, "driver", None),
        "url": _plain_url(engine),
        "settings": pool_settings(pool),
        "engine": engine_number(dialect),
        "async": is_async,
        "in_loop": not is_async and running_loop() is not None,
        "met_at": monotonic_ns(),
        "logging_name": getattr(pool, "logging_name", None),
    }


def engine_number(dialect: Any) -> int:
    """Return a number for an engine by its dialect, which `Engine.dispose()` hands on from the old pool to the new.

    Not its id: an engine made for one request and forgotten leaves its address to the next.
    """
    try:
        number = _engines.get(dialect)
        if number is None:
            number = _engines[dialect] = _next_engine()
    except TypeError:  # somebody's own dialect, which cannot be hashed or referred to weakly
        number = id(dialect)
    return number


def pool_settings(pool: Any) -> dict[str, Any]:
    """Return the settings a pool has, by the names of DESIGN.md section 5; None where its class has no such setting."""
    queue = getattr(pool, "_pool", None)
    queued = queue is not None and hasattr(queue, "maxsize")
    recycle = getattr(pool, "_recycle", -1)
    return {
        "pool_size": queue.maxsize if queue is not None and queued else None,
        "max_overflow": getattr(pool, "_max_overflow", None) if queued else None,
        "pool_timeout_s": getattr(pool, "_timeout", None) if queued else None,
        "pool_recycle_s": recycle if recycle is not None and recycle >= 0 else None,
        "pre_ping": bool(getattr(pool, "_pre_ping", False)),
        "lifo": bool(getattr(queue, "use_lifo", False)) if queued else None,
    }


def engine_of(pool: Any) -> Any:
    """Return the Engine in whose `raw_connection` we are, when it is `pool`'s; else None. Looks at frames: slow."""
    frame = sys._getframe(1)
    for _ in range(12):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        if frame.f_code.co_name == "raw_connection":
            engine = frame.f_locals.get("self")
            return engine if getattr(engine, "pool", None) is pool else None
    return None


_PIDS: dict[str, Callable[[Any], Any]] = {
    "asyncpg": lambda connection: connection.get_server_pid(),
    "psycopg": lambda connection: connection.info.backend_pid,
    "psycopg2": lambda connection: connection.info.backend_pid,
    "pymysql": lambda connection: connection.thread_id(),
    "MySQLdb": lambda connection: connection.thread_id(),
    "aiomysql": lambda connection: connection.thread_id(),
    "asyncmy": lambda connection: connection.thread_id(),
}
"""How a driver, by its package, tells the server's id of a connection without asking the server."""


def backend_pid(pool: Any, connection: Any) -> int:
    """Return the server's id for a connection where the driver is known to know it; 0 otherwise.

    Nothing is called on a connection of a driver that was never heard of: it might do anything.
    """
    driver = pool._dialect.get_driver_connection(connection)
    ask = _PIDS.get(type(driver).__module__.partition(".")[0])
    found = ask(driver) if ask is not None else 0
    return found if isinstance(found, int) and 0 < found < 1 << 32 else 0


def _plain_url(engine: Any) -> str | None:
    url = getattr(engine, "url", None)
    if url is None:
        return None
    host = url.host or url.query.get("host") or ""
    port = f":{url.port}" if url.port else ""
    user = f"{url.username}@" if url.username else ""
    return f"{url.drivername}://{user}{host}{port}/{url.database or ''}"
