"""The pool of an engine: its settings read, and other settings put in their place.

In: a SQLAlchemy engine, the overrides of a TargetSpec. Out: PoolSettings, or the engine with a new pool of the same
class, creator and listeners. Reads and sets private attributes of QueuePool, checked with SQLAlchemy 2.0.58 and 2.1.9:
`recreate` is the only copy that a subclass of the user's own is sure to support, and it takes no settings.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import Pool, QueuePool

from poolctl.errors import UsageError
from poolctl.target.spec import OVERRIDES, TargetSpec
from poolctl.trace.report import PoolSettings


def settings(pool: Pool) -> PoolSettings:
    """Return the settings of `pool`; all None for a pool without a size (NullPool, StaticPool, …)."""
    if not isinstance(pool, QueuePool):
        return PoolSettings()
    return PoolSettings(
        pool_size=pool.size(),
        max_overflow=pool._max_overflow,  # noqa: SLF001 - no public way
        pool_timeout_s=pool.timeout(),
        pool_recycle_s=pool._recycle,  # noqa: SLF001 - no public way
        pre_ping=bool(pool._pre_ping),  # noqa: SLF001 - no public way
        lifo=bool(pool._pool.use_lifo),  # noqa: SLF001 - no public way
    )


def overrides(spec: TargetSpec) -> dict[str, Any]:
    """Return the pool settings that `spec` overrides, by its field names."""
    return {name: getattr(spec, name) for name in OVERRIDES if getattr(spec, name) is not None}


def engine_arguments(spec: TargetSpec) -> dict[str, Any]:
    """Return the overrides of `spec` under the names that `create_async_engine` knows."""
    names = {
        "pool_timeout_s": "pool_timeout",
        "pool_recycle_s": "pool_recycle",
        "pre_ping": "pool_pre_ping",
        "lifo": "pool_use_lifo",
    }
    return {names.get(name, name): value for name, value in overrides(spec).items()}


def refuse_unknown(pool_class: type[Pool], spec: TargetSpec) -> None:
    """Raise UsageError when `spec` overrides settings that a pool of this class does not have."""
    wanted = engine_arguments(spec)
    if wanted and not issubclass(pool_class, QueuePool):
        raise UsageError(
            f"{pool_class.__name__} has no {', '.join(wanted)}: it is not a pool of a size",
            "leave the pool settings out, or give the engine an AsyncAdaptedQueuePool",
        )


async def resize(engine: AsyncEngine, spec: TargetSpec) -> AsyncEngine:
    """Return `engine` with the overrides of `spec` in a new pool; idle connections of the old one are closed.

    The pool keeps its class, creator, dialect and event listeners. Raises UsageError when its class has no such
    setting.
    """
    wanted = overrides(spec)
    if not wanted:
        return engine
    refuse_unknown(type(engine.sync_engine.pool), spec)
    await engine.dispose()  # puts pool.recreate() in its place: nobody uses that one yet
    pool = engine.sync_engine.pool
    assert isinstance(pool, QueuePool)  # noqa: S101 - the same class as before
    new = {**_as_dict(settings(pool)), **wanted}
    if "pool_size" in wanted and "max_overflow" not in wanted and pool.size() == 0:
        new["max_overflow"] = 0  # it was -1 only because the size was 0
    _set(pool, new)
    return engine


def _as_dict(current: PoolSettings) -> dict[str, Any]:
    return {name: getattr(current, name) for name in OVERRIDES}


def _set(pool: QueuePool, new: dict[str, Any]) -> None:
    """Do what QueuePool.__init__ does with these settings."""
    size = new["pool_size"]
    pool._pool = pool._queue_class(size, use_lifo=new["lifo"])  # noqa: SLF001
    pool._overflow = -size  # noqa: SLF001
    pool._max_overflow = -1 if size == 0 else new["max_overflow"]  # noqa: SLF001
    pool._timeout = new["pool_timeout_s"]  # noqa: SLF001
    pool._recycle = new["pool_recycle_s"]  # noqa: SLF001
    pool._pre_ping = new["pre_ping"]  # noqa: SLF001
