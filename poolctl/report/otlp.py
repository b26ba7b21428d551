"""Report -> OTLP: each pool's metrics to an OpenTelemetry collector over HTTP, where one is configured.

In: a report. Out: one request to the collector, or one sentence that says why there was none. Needs the extra `otlp`.
The names are those of the semantic conventions (`db.client.connection.*`, FIELD.md section 7).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from poolctl import __version__
from poolctl.redact import redact, scrub
from poolctl.trace.pool_metrics import Histogram, PoolMetrics
from poolctl.trace.report import Report

PATH = "/v1/metrics"
PATIENCE_S = 3.0
"""A collector that has not taken the metrics by then does not get them."""
VARIABLES = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own, the nearer one first."""


def endpoint(configured: str | None) -> str | None:
    """Return where metrics go: what poolctl was told, else what the environment says; None: nowhere."""
    if configured is not None:
        return configured if configured.rstrip("/").endswith(PATH) else configured.rstrip("/") + PATH
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    exact, base = (os.environ.get(name, "").strip() for name in VARIABLES)
    return exact or (base.rstrip("/") + PATH if base else None)


def send(report: Report, to: str) -> str:
    """Send the metrics of a report; return why that failed, in a sentence without secrets. Empty: they were taken."""
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import MetricExportResult
    except ImportError:
        return f"metrics are not sent to {redact(to)}: install poolctl[otlp]"
    heard = _Heard()
    logger = logging.getLogger("opentelemetry")
    before = logger.propagate
    logger.addHandler(heard)
    logger.propagate = False  # what it says on the way is said in our sentence
    try:
        exporter = OTLPMetricExporter(endpoint=to, timeout=PATIENCE_S)
        try:
            taken = exporter.export(data(report)) is MetricExportResult.SUCCESS
        finally:
            exporter.shutdown()
    except Exception as error:  # noqa: BLE001 - whatever the library raises, the diagnosis goes on
        taken, heard.last = False, f"{type(error).__name__}: {error}"
    finally:
        logger.removeHandler(heard)
        logger.propagate = before
    return "" if taken else f"metrics were not taken by {redact(to)}: {scrub(heard.last, to)[:200] or 'no answer'}"


class _Heard(logging.Handler):
    """Keeps the last thing that a library complained of."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def data(report: Report) -> Any:
    """Return the metrics as OpenTelemetry's own record. Needs the extra `otlp`."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    resource = Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME") or "poolctl",
            "poolctl.run.id": report.run.id,
            "poolctl.verdict": report.verdict,
        }
    )
    scope = ScopeMetrics(InstrumentationScope("poolctl", __version__), list(_metrics(report)), "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metrics(report: Report) -> Iterator[Any]:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        HistogramDataPoint,
        Metric,
        NumberDataPoint,
        Sum,
    )
    from opentelemetry.sdk.metrics.export import Histogram as HistogramData

    began = int(datetime.fromisoformat(report.run.started_at).timestamp() * 1e9)
    whole = AggregationTemporality.CUMULATIVE

    def at(seconds: float) -> int:
        return began + int(seconds * 1e9)

    end = at(report.run.duration_s)

    def number(pool: PoolMetrics, value: float, when: int = end, **more: str) -> Any:
        return NumberDataPoint({"db.client.connection.pool.name": pool.name, **_dotted(more)}, began, when, value)

    def spread(pool: PoolMetrics, made: Histogram) -> Any:
        attributes = {"db.client.connection.pool.name": pool.name}
        ends: Any = (made.least, made.greatest)  # None of nothing, which the format can say and its type cannot
        return HistogramDataPoint(attributes, began, end, made.count, made.total, made.counts, made.bounds, *ends)

    pools = report.metrics
    states = [
        number(pool, value, at(point.at_s), state=state)
        for pool in pools
        for point in pool.series
        for state, value in (("used", point.used), ("idle", point.idle))
        if value is not None
    ]
    pending = [
        number(pool, point.pending, at(point.at_s))
        for pool in pools
        for point in pool.series
        if point.pending is not None
    ]
    sums: list[tuple[str, str, str, list[Any], bool]] = [
        ("count", "{connection}", "Connections by state", states, False),
        ("pending_requests", "{request}", "Requests queued", pending, False),
        ("max", "{connection}", "Most connections", [number(p, p.max) for p in pools if p.max is not None], False),
        ("idle.max", "{connection}", "pool_size", [number(p, p.idle_max) for p in pools if p.idle_max], False),
        ("timeouts", "{timeout}", "Requests that timed out", [number(p, p.timeouts) for p in pools], True),
    ]
    for name, unit, text, points, monotonic in sums:
        if points:
            yield Metric(f"db.client.connection.{name}", text, unit, Sum(points, whole, monotonic))
    for name, text in (("create_time", "Opening"), ("wait_time", "Obtaining"), ("use_time", "Holding")):
        points = [spread(pool, getattr(pool, f"{name}_s")) for pool in pools]
        if points:
            yield Metric(f"db.client.connection.{name}", text, "s", HistogramData(points, whole))
    for name in ("checkouts", "checkins", "connects", "closes"):
        points = [number(pool, getattr(pool, name)) for pool in pools]
        if points:
            yield Metric(f"poolctl.connection.{name}", f"Deltas of the pool: {name}", "1", Sum(points, whole, True))


def _dotted(more: dict[str, str]) -> dict[str, str]:
    return {f"db.client.connection.{key}": value for key, value in more.items()}
