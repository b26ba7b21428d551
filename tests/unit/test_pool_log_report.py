"""What becomes of a log: the same report as of any run, and nothing in it that a log cannot know."""

from __future__ import annotations

import dataclasses

import pytest
from pool_lines import ASYNC, Told, async_connection, read

from poolctl.analysis.leases import tables
from poolctl.analysis.summary import analyse
from poolctl.config import Settings
from poolctl.report import render
from poolctl.target.pool_log import read_log
from poolctl.trace.report import Outcome
from poolctl.trace.run import Run


@pytest.fixture
def told():
    """A thousand holds of 20 ms on three connections, one connection that never came back, ten minutes of silence."""
    log = Told(show=async_connection, common={"logger": f"sqlalchemy.pool.impl.{ASYNC}.main"})
    for n in range(3):
        log.created(0, 0x10 + n)
    for n in range(1000):
        log.used(1 + n * 0.1, 0.02, 0x10 + n % 3, task=f"Task-{n}")
    log.checked_out(102, 0x10, task="Task-5000")
    log.say(700, "still alive", logger="app")
    return log


def judged(found, **settings):
    return analyse(found.run, dataclasses.replace(Settings(), **settings))


def test_a_log_gives_the_same_report_as_any_run_and_a_leak_is_found(tmp_path, told):
    report = judged(told.read(tmp_path))
    assert report.verdict == "leaking"
    assert report.leases.open == 1
    assert report.times.hold_time_s.count == 1000
    assert report.times.hold_time_s.p95 == pytest.approx(0.02, abs=1e-6)
    assert any(finding.code.startswith("PC1") for finding in report.findings)
    assert "limit unknown" in render(report, "console", width=120, color=False)


def test_what_a_log_cannot_tell_is_a_dash_in_the_report_and_no_zero(tmp_path, told):
    report = judged(told.read(tmp_path))
    times = report.times
    for unknown in (times.acquire_time_s, times.wait_time_s, times.ping_time_s, times.sql_time_s, times.idle_in_hold_s,
                    times.checkin_time_s):  # fmt: skip
        assert unknown.count == 0
    assert report.pool.peak_waiting is None
    assert report.pool.peak_overflow is None
    assert {point.waiting for point in report.pool.timeline} == {None}
    assert "overflow —, waiting —" in " ".join(render(report, "console", width=120, color=False).split())
    for format_ in ("markdown", "json"):
        assert render(report, format_, width=120, color=False)


@pytest.mark.parametrize(
    "objective", ["count timeouts == 0", "rate timeouts < 50%", "count cancelled == 0", "p95 wait < 1s"]
)
def test_an_objective_on_what_a_log_cannot_tell_is_never_passed(tmp_path, told, objective):
    report = judged(told.read(tmp_path), slo=(objective,))
    assert report.objectives[0].verdict is Outcome.INCONCLUSIVE
    assert report.exit_code == 4


def test_an_objective_on_what_a_log_tells_is_judged(tmp_path, told):
    report = judged(told.read(tmp_path), slo=("p95 hold < 1s", "count leaks == 0", "p95 hold < 1ms"))
    assert [result.verdict for result in report.objectives] == [Outcome.PASS, Outcome.FAIL, Outcome.FAIL]


def test_timeouts_that_were_seen_fail_an_objective(tmp_path, told):
    told.say(300, "TimeoutError: QueuePool limit of size 2 overflow 1 reached, connection timed out, timeout 5.00")
    report = judged(told.read(tmp_path), slo=("count timeouts == 0",))
    assert report.objectives[0].verdict is Outcome.FAIL


def test_no_size_is_advised_from_a_log_and_the_reason_is_said(tmp_path, told):
    sizing = judged(told.read(tmp_path)).sizing
    assert sizing is not None
    assert sizing.recommended is None
    assert "does not tell who waited" in sizing.reason


@pytest.mark.parametrize(
    ("known", "verdict"), [({}, "cannot tell"), ({"pool_size": 1}, "cannot tell"), ({"pool_size": 2}, "healthy")]
)
def test_a_pool_is_healthy_only_where_the_log_shows_that_nobody_can_have_waited(tmp_path, told, known, verdict):
    path = tmp_path / "pool.log"
    path.write_text(Told(told.lines[: 3 + 3 * 1000]).text())
    run = Run.create(tmp_path)
    read_log(path, run, known={"max_overflow": 0, **known})
    assert analyse(run, Settings()).verdict == verdict


def test_settings_that_the_user_knows_fill_what_the_log_does_not_say(tmp_path, told):
    run = Run.create(tmp_path)
    path = tmp_path / "pool.log"
    path.write_text(told.text())
    read_log(path, run, known={"pool_size": 2, "max_overflow": 1, "pool_timeout_s": None, "url": "x"}, objectives=["a"])
    report = analyse(run, dataclasses.replace(Settings(), slo=("p95 hold < 1s",)))
    assert (report.target.settings.pool_size, report.target.settings.max_overflow) == (2, 1)
    assert report.target.settings.pool_timeout_s is None
    assert report.pool.utilisation is not None
    assert report.pool.peak_overflow is not None
    assert not tables(run).leases["overflow"].any()
    assert run.read_meta()["objectives"] == ["a"]


def test_a_lease_beyond_a_pool_size_that_is_known_is_overflow(tmp_path):
    log = Told()
    for n in range(4):
        log.checked_out(n, 0x10 + n)
    path = tmp_path / "pool.log"
    path.write_text(log.text())
    run = Run.create(tmp_path)
    read_log(path, run, known={"pool_size": 2})
    assert tables(run).leases["overflow"].tolist() == [False, False, True, True]


def test_a_task_that_holds_one_connection_and_takes_another_is_nested(tmp_path):
    log = Told(show=async_connection, common={"logger": f"sqlalchemy.pool.impl.{ASYNC}"})
    for n in range(100):
        task = f"Task-{n}"
        log.checked_out(n, 0x10, task=task)
        log.checked_out(n + 0.1, 0x20, task=task)
        log.returned(n + 0.2, 0x20, task=task)
        log.returned(n + 0.3, 0x10, task=task)
    from poolctl.analysis.summary import target_of
    from poolctl.analysis.view import View

    found = log.read(tmp_path / "tasks")
    assert View(found.tables, target_of(found.tables)).nested.sum() == 100
    nameless = Told([dataclasses.replace(line, task=None) for line in log.lines])
    found = nameless.read(tmp_path / "threads")
    assert View(found.tables, target_of(found.tables)).nested.sum() == 0


def test_a_log_read_twice_gives_the_same_tables(tmp_path, told):
    path = tmp_path / "pool.log"
    path.write_text(told.text())
    assert read(path, tmp_path / "a").tables.leases.equals(read(path, tmp_path / "b").tables.leases)
