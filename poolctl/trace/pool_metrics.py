"""Pool metrics: the numbers of a pool as OpenTelemetry's semantic conventions name them (FIELD.md section 7).

In: nothing. Out: frozen dataclasses; a part of the report. Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often a time fell between two bounds."""

    bounds: list[float]
    """Upper bounds of the buckets but the last, included; seconds."""
    counts: list[int]
    """One more than bounds; each time is in one of them."""
    total: float = 0.0
    """Sum of the times, seconds."""
    least: float | None = None
    greatest: float | None = None

    @property
    def count(self) -> int:
        """How many times there were."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool at an instant."""

    at_s: float
    """Seconds since the run began."""
    used: int
    idle: int | None
    """None: the source does not tell."""
    pending: int | None


@dataclass(frozen=True, slots=True)
class PoolMetrics:
    """One pool; those of one name in several processes together."""

    name: str
    """`db.client.connection.pool.name`: its logging name, else `address:port/database`."""
    processes: int
    max: int | None
    """pool_size + max_overflow; None: no limit, or unknown."""
    idle_max: int | None
    """pool_size."""
    checkouts: int
    checkins: int
    connects: int
    closes: int
    timeouts: int
    create_time_s: Histogram
    wait_time_s: Histogram
    """From the request to the connection: OpenTelemetry's wait_time is our acquire_time."""
    use_time_s: Histogram
    series: list[PoolState] = field(default_factory=list)
    """The pool over time; the last one is its end."""
