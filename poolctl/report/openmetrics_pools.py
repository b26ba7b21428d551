"""Pool metrics -> OpenMetrics: each pool's gauges, counters and histograms under OpenTelemetry's names.

In: reports, and the labels of each. Out: lines of an exposition. The names are those of the semantic conventions
(`db.client.connection.*`, FIELD.md section 7), as the exporters to Prometheus write them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from poolctl.trace.pool_metrics import Histogram, PoolMetrics
from poolctl.trace.report import Report

Labels = dict[str, str]
Sample = tuple[str, Labels, float | None]
"""Suffix of the name, labels, value."""

PREFIX = "db_client_connection"


class Metric(NamedTuple):
    """One family."""

    name: str
    kind: str
    unit: str
    text: str
    samples: Callable[[PoolMetrics], list[Sample]]


def _last(pool: PoolMetrics, name: str) -> float | None:
    return getattr(pool.series[-1], name) if pool.series else None


def _buckets(made: Histogram) -> list[Sample]:
    samples: list[Sample] = []
    below = 0
    for bound, count in zip([*made.bounds, float("inf")], made.counts, strict=True):
        below += count
        samples.append(("_bucket", {"le": "+Inf" if bound == float("inf") else repr(bound)}, float(below)))
    return [*samples, ("_count", {}, float(made.count)), ("_sum", {}, made.total)]


def _state(name: str) -> Labels:
    return {f"{PREFIX}_state": name}


METRICS = [
    Metric(
        "count",
        "gauge",
        "",
        "Connections by state at the end of the window",
        lambda pool: [("", _state("used"), _last(pool, "used")), ("", _state("idle"), _last(pool, "idle"))],
    ),
    Metric("idle_max", "gauge", "", "Most idle connections (pool_size)", lambda pool: [("", {}, pool.idle_max)]),
    Metric("max", "gauge", "", "Most connections", lambda pool: [("", {}, pool.max)]),
    Metric("pending_requests", "gauge", "", "Requests queued", lambda pool: [("", {}, _last(pool, "pending"))]),
    Metric("timeouts", "counter", "", "Requests that timed out", lambda pool: [("_total", {}, pool.timeouts)]),
    Metric("create_time_seconds", "histogram", "seconds", "Opening", lambda pool: _buckets(pool.create_time_s)),
    Metric("wait_time_seconds", "histogram", "seconds", "Obtaining", lambda pool: _buckets(pool.wait_time_s)),
    Metric("use_time_seconds", "histogram", "seconds", "Holding", lambda pool: _buckets(pool.use_time_s)),
    Metric("checkouts", "counter", "", "Connections handed out", lambda pool: [("_total", {}, pool.checkouts)]),
    Metric("checkins", "counter", "", "Connections returned", lambda pool: [("_total", {}, pool.checkins)]),
    Metric("connects", "counter", "", "Connections opened", lambda pool: [("_total", {}, pool.connects)]),
    Metric("closes", "counter", "", "Connections closed", lambda pool: [("_total", {}, pool.closes)]),
]
"""The last four are the deltas of the pool, which have no name in the conventions."""


def lines(reports: Sequence[tuple[Report, Labels]], write: Callable[[Labels], str]) -> list[str]:
    """Return the families of all reports' pools; `write` puts labels into braces."""
    made = []
    for metric in METRICS:
        name = f"{PREFIX}_{metric.name}"
        found = [
            f"{name}{suffix}{write({**labels, f'{PREFIX}_pool_name': pool.name, **own})} {float(value)!r}"
            for report, labels in reports
            for pool in report.metrics
            for suffix, own, value in metric.samples(pool)
            if value is not None
        ]
        if found:
            made += [f"# TYPE {name} {metric.kind}"] + ([f"# UNIT {name} {metric.unit}"] if metric.unit else [])
            made += [f"# HELP {name} {metric.text}", *found]
    return made
