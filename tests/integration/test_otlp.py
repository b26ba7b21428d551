"""OTLP: a collector gets each pool's metrics under OpenTelemetry's names; one that is not there costs a line."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample_reports
from command import poolctl
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from sick_apps import free_port

from poolctl.report import otlp


class Collector(http.server.ThreadingHTTPServer):
    """Keeps what it is sent; answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, bytes]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def metrics(self) -> dict[str, Any]:
        """What came in the only request, by name."""
        [(path, body)] = self.got
        assert path == "/v1/metrics"
        [resource] = ExportMetricsServiceRequest.FromString(body).resource_metrics
        [scope] = resource.scope_metrics
        return {metric.name: metric for metric in scope.metrics}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def attributes(point: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in point.attributes}


def test_a_collector_gets_the_pool_under_the_names_of_the_conventions(collector: Collector) -> None:
    report = sample_reports.too_small()
    assert otlp.send(report, collector.url + "/v1/metrics") == ""
    metrics = collector.metrics()
    prefix = "db.client.connection."
    states = {
        (attributes(point)[f"{prefix}state"], point.time_unix_nano): point.as_int
        for point in metrics[f"{prefix}count"].sum.data_points
    }
    assert sorted(states.values()) == [0, 1, 4, 5]
    assert not metrics[f"{prefix}count"].sum.is_monotonic
    [timeouts] = metrics[f"{prefix}timeouts"].sum.data_points
    assert (timeouts.as_int, metrics[f"{prefix}timeouts"].sum.is_monotonic) == (418, True)
    [waits] = metrics[f"{prefix}wait_time"].histogram.data_points
    assert (list(waits.bucket_counts), waits.count, waits.sum) == ([200, 194, 1000, 0], 1394, pytest.approx(611.2))
    assert metrics[f"{prefix}wait_time"].unit == "s"
    assert attributes(waits) == {f"{prefix}pool.name": "127.0.0.1:5432/shop"}
    assert {f"{prefix}{name}" for name in ("create_time", "use_time", "max", "idle.max", "pending_requests")} <= set(
        metrics
    )


def test_a_collector_that_refuses_is_one_sentence_without_a_secret(collector: Collector) -> None:
    collector.status = 401
    to = collector.url.replace("//", "//me:hunter22@") + "/v1/metrics"
    problem = otlp.send(sample_reports.quiet(), to)
    assert problem.startswith("metrics were not taken by http://me:***@127.0.0.1")
    assert "401" in problem
    assert "hunter22" not in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("told", "environment", "to"),
    [
        (None, {}, None),
        ("http://c:4318", {}, "http://c:4318/v1/metrics"),
        ("http://c:4318/v1/metrics", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d"}, "http://c:4318/v1/metrics"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d:4318/"}, "http://d:4318/v1/metrics"),
        (None, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://e/x"}, "http://e/x"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d", "OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_metrics_go_where_poolctl_was_told_else_where_opentelemetry_was(
    monkeypatch: pytest.MonkeyPatch, told: str | None, environment: dict[str, str], to: str | None
) -> None:
    for name in (*otlp.VARIABLES, "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert otlp.endpoint(told) == to


SCRIPT = """\
import sqlalchemy as sa
engine = sa.create_engine('sqlite:///data.sqlite', pool_size=3)
for _ in range(70):
    with engine.connect() as connection:
        connection.exec_driver_sql('select 1')
"""


def test_a_diagnosis_sends_its_metrics_and_writes_them_as_prometheus_text(tmp_path: Path, collector: Collector) -> None:
    (tmp_path / "app.py").write_text(SCRIPT)
    (tmp_path / "poolctl.toml").write_text(f'otlp = "{collector.url}"\n')
    result = poolctl("diagnose", "--quiet", "--report", "pools.prom", "--", sys.executable, "app.py", cwd=tmp_path)
    assert (result.code, result.err) == (0, "")
    [checkouts] = collector.metrics()["poolctl.connection.checkouts"].sum.data_points
    assert checkouts.as_int == 70
    text = (tmp_path / "pools.prom").read_text()
    assert 'db_client_connection_checkouts_total{scenario="diagnose",' in text
    assert "} 70.0\n" in text


def test_a_dead_collector_costs_the_diagnosis_one_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SCRIPT)
    dead = f"http://127.0.0.1:{free_port()}"
    result = poolctl(
        "diagnose",
        "--quiet",
        "--",
        sys.executable,
        "app.py",
        cwd=tmp_path,
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": dead},
    )
    assert result.code == 0
    assert "The pool is" in result.out
    assert len(result.errors) == 1, result.err
    assert result.errors[0].startswith(f"warning: metrics were not taken by {dead}/v1/metrics: ")


def test_with_verbose_each_change_of_a_pool_is_a_line_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SCRIPT)
    result = poolctl("diagnose", "--verbose", "--", sys.executable, "app.py", cwd=tmp_path)
    deltas = [line for line in result.errors if " DEBUG poolctl.pool " in line]
    assert sum(" checkout pool=1 " in line for line in deltas) == 70
    assert any("site=app.py:4 <module>" in line.replace(str(tmp_path) + "/", "") for line in deltas)
