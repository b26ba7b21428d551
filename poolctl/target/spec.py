"""TargetSpec: which database, through which pool, and what poolctl may do there.

In: what the user said. Out: one frozen record that a worker process can be handed. It holds the password: it goes
through a pipe, never onto a command line, never to disk, and its repr leaves the URL out. Imports no SQLAlchemy.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from poolctl.errors import UsageError
from poolctl.redact import redact

OVERRIDES = ("pool_size", "max_overflow", "pool_timeout_s", "pool_recycle_s", "pre_ping", "lifo")
"""The pool settings a spec can override, by field name."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A target. With neither `url` nor `engine`: the embedded PostgreSQL, which is not running yet (see `started`).

    Raises UsageError for a setting that cannot work.
    """

    url: str | None = field(default=None, repr=False)
    """SQLAlchemy URL with an async driver."""
    engine: str | None = None
    """`module:attribute`, found from the current directory."""
    embedded: bool = False
    """`url` is poolctl's own throwaway PostgreSQL."""
    pool_size: int | None = None
    """None, here and below: leave what the target has."""
    max_overflow: int | None = None
    pool_timeout_s: float | None = None
    pool_recycle_s: float | None = None
    """Seconds; -1 never."""
    pre_ping: bool | None = None
    lifo: bool | None = None
    allow_writes: bool = False
    """`--allow-writes`: set-up and writing transactions may run here."""
    yes: bool = False
    """`--yes`: a host that is not local may be loaded."""

    def __post_init__(self) -> None:
        if self.url is not None and self.engine is not None:
            raise UsageError("--url and --engine name two targets", "give one of them")
        refuse_impossible(self)

    @property
    def needs_embedded(self) -> bool:
        """Nothing was named: start an EmbeddedPostgres and go on with `started(its url)`."""
        return self.url is None and self.engine is None

    def started(self, url: str) -> TargetSpec:
        """Return the same target on the embedded PostgreSQL that runs at `url`."""
        return dataclasses.replace(self, url=url, embedded=True)

    def with_pool(self, **overrides: Any) -> TargetSpec:
        """Return the same target with other pool settings (field names of this class)."""
        return dataclasses.replace(self, **overrides)

    @property
    def shown(self) -> str:
        """The target as a person may see it, without secrets."""
        if self.embedded or self.needs_embedded:
            return "embedded PostgreSQL"
        return f"engine {self.engine}" if self.engine else redact(self.url or "")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data, WITH the password: for a pipe only."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TargetSpec:
        """Rebuild a spec from `to_dict`."""
        return cls(**data)


def refuse_impossible(spec: TargetSpec) -> None:
    """Raise UsageError for a pool setting that SQLAlchemy would take and that cannot work."""
    size, overflow, timeout, recycle = spec.pool_size, spec.max_overflow, spec.pool_timeout_s, spec.pool_recycle_s
    if size is not None and size < 0:
        raise UsageError(f"pool_size {size}: a pool cannot hold fewer than 0 connections", "give 1 or more")
    if overflow is not None and overflow < -1:
        raise UsageError(f"max_overflow {overflow}: must be 0 or more, or -1 for no limit", "give 0 for a fixed pool")
    if size == 0 and overflow not in (None, -1):
        raise UsageError(
            f"pool_size 0 means a pool without limit, so max_overflow {overflow} would be ignored",
            "give pool_size 1 or more, or leave max_overflow out",
        )
    if timeout is not None and not (timeout > 0 and math.isfinite(timeout)):
        raise UsageError(f"pool_timeout {timeout:g} s: must be more than 0", "give 100ms, 5s or 30s")
    if recycle is not None and recycle != -1 and not (recycle > 0 and math.isfinite(recycle)):
        raise UsageError(
            f"pool_recycle {recycle:g} s: would open a new connection for each checkout",
            "give 1s or more, or -1 to never recycle",
        )
