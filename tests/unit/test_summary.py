"""From a run to its report: the verdict, what rules the others out, validity, the exit code."""

import json
import random

import pytest
from synthesis import Lease, Operation, Sample, operations_of, through_pool, write_run

from poolctl.analysis.summary import analyse
from poolctl.config import Settings
from poolctl.errors import Exit
from poolctl.trace.report import Outcome, Report

OBJECTIVES = ["p95 wait < 50ms"]


def work(rate, seconds, hold=0.07, seed=1):
    """Poisson arrivals with lognormal holds."""
    drawn, at = random.Random(seed), 0.0
    pairs = []
    while (at := at + drawn.expovariate(rate)) < seconds:
        pairs.append((at, drawn.lognormvariate(0, 0.3) * hold))
    return pairs


def bursts(seconds=42.0):
    """8/s, and every 14 s a burst of 110/s for 6 s."""
    quiet = work(8, seconds)
    return quiet + [(at, hold) for at, hold in work(102, seconds, seed=2) if at % 14 >= 8]


def pool(pairs, size, overflow=0, timeout=1.0, **fields):
    leases = through_pool(pairs, size, overflow=overflow, timeout=timeout, **{"sql": 0.005, **fields})
    settings = {"pool_size": size, "max_overflow": overflow, "pool_timeout_s": timeout}
    return {"leases": leases, "settings": settings}


def loadtest(tmp_path, *, gate=None, name="run", lag=0.0, cpu=0.1, **arguments):
    arguments.setdefault("operations", operations_of(arguments["leases"], lag=lag))
    arguments.setdefault("objectives", OBJECTIVES)
    run = write_run(tmp_path, name=name, samples=[Sample(1.0, cpu=cpu)], **arguments)
    return analyse(run, gate)


def watched(tmp_path, **arguments):
    """The same without a load generator."""
    return analyse(write_run(tmp_path, command="diagnose", load=None, **arguments))


def test_bursts_on_five_connections_say_too_small_although_the_holds_are_idle(tmp_path):
    report = loadtest(tmp_path, think_in_hold=True, **pool(bursts(), 5))
    assert report.verdict == "too small"
    assert "requests timed out after 1.00 s" in report.summary
    assert "all 5 connections in use" in report.summary
    assert report.exit_code == Exit.GATE_FAILED
    assert report.objectives[0].verdict is Outcome.FAIL
    assert report.sizing.recommended.capacity > 5
    codes = {finding.code for finding in report.findings}
    assert {"PC201", "PC202", "PC302"} <= codes
    evidence = "\n".join(report.evidence)
    for word in ("leaks: 0", "nested checkouts: 0 %", "event loop: 0 %", "database: SQL took", "thinks while it holds"):
        assert word in evidence


def test_what_is_recommended_for_the_bursts_meets_the_objective(tmp_path):
    best = loadtest(tmp_path / "a", **pool(bursts(), 5)).sizing.recommended
    report = loadtest(tmp_path / "b", **pool(bursts(), best.pool_size, best.max_overflow))
    assert (report.verdict, report.objectives[0].verdict, report.exit_code) == ("healthy", Outcome.PASS, Exit.DONE)


def test_a_pool_of_fifty_for_four_requests_a_second_is_oversized(tmp_path):
    report = loadtest(tmp_path, **pool(work(4, 60, hold=0.015), 50))
    assert report.verdict == "oversized"
    assert "of 50 connections were in use" in report.summary
    assert report.exit_code == Exit.DONE


def test_a_pool_that_fits_is_healthy(tmp_path):
    report = loadtest(tmp_path, **pool(work(60, 30), 14))
    assert report.verdict == "healthy"
    assert report.exit_code == Exit.DONE


def test_a_generator_that_starts_far_too_late_is_the_bottleneck_and_nothing_is_told(tmp_path):
    """The response counts from the intended start, so that a late start stretches its own limit: 3 s are far off."""
    report = loadtest(tmp_path, lag=3.0, **pool(work(60, 30), 14))
    assert report.verdict == "cannot tell"
    assert "the load generator was the bottleneck" in report.summary
    assert "late (p99)" in report.summary
    assert report.objectives[0].verdict is Outcome.INCONCLUSIVE
    assert report.exit_code == Exit.INCONCLUSIVE
    assert report.sizing.recommended is None
    assert "late" in report.sizing.reason


def test_a_generator_that_starts_a_little_late_makes_the_gate_inconclusive_but_hides_no_verdict(tmp_path):
    report = loadtest(tmp_path, lag=0.2, **pool(bursts(), 5))
    assert report.verdict == "too small"
    assert report.objectives[0].verdict is Outcome.INCONCLUSIVE
    assert "late (p99)" in report.objectives[0].reason
    assert report.exit_code == Exit.INCONCLUSIVE


def test_a_loop_without_air_is_the_bottleneck(tmp_path):
    report = loadtest(tmp_path, cpu=0.93, **pool(work(60, 30), 14))
    assert report.verdict == "cannot tell"
    assert "93.0 % of a core" in report.summary


def test_fewer_operations_than_the_tape_had_are_no_valid_run(tmp_path):
    load = {"model": "open", "arrivals": 3000, "offered_per_s": 100.0, "duration_s": 30.0}
    report = loadtest(tmp_path, load=load, **pool(work(60, 30), 14))
    assert not next(check for check in report.validity if check.check == "achieved ÷ offered").ok
    assert report.exit_code == Exit.INCONCLUSIVE


@pytest.mark.parametrize(("cycle", "advised"), [(14.0, True), (60.0, False)])
def test_a_run_that_did_not_see_a_whole_cycle_of_its_load_gives_no_advice(tmp_path, cycle, advised):
    pairs = work(60, 30)
    load = {"model": "open", "arrivals": len(pairs), "offered_per_s": len(pairs) / 30, "duration_s": 30.0}
    report = loadtest(tmp_path, load={**load, "cycle_s": cycle}, duration=30.0, **pool(pairs, 14))
    assert (report.sizing.recommended is not None) == advised
    assert (report.exit_code == Exit.DONE) == advised
    if not advised:
        assert "one cycle of the arrivals takes 60.0 s" in report.sizing.reason


def test_lost_records_make_the_run_inconclusive_but_not_the_verdict_unknown(tmp_path):
    report = loadtest(tmp_path, lose=[40, 41], **pool(work(60, 30), 14))
    assert report.capture.dropped == 2
    assert report.objectives[0].verdict is Outcome.INCONCLUSIVE
    assert "2 of" in report.objectives[0].reason
    assert report.exit_code == Exit.INCONCLUSIVE


def test_skipped_operations_make_the_run_inconclusive(tmp_path):
    arguments = pool(work(60, 30), 14)
    operations = [*operations_of(arguments["leases"]), Operation(29.0, 29.0, item=9999, outcome="skipped")]
    report = loadtest(tmp_path, operations=operations, **arguments)
    assert report.load.skipped == 1
    assert report.exit_code == Exit.INCONCLUSIVE


@pytest.mark.parametrize(("end", "code"), [("interrupted", Exit.INTERRUPTED), ("target lost", Exit.TARGET)])
def test_how_the_run_ended_comes_before_the_gate(tmp_path, end, code):
    report = loadtest(tmp_path, end=end, **pool(bursts(), 5))
    assert report.exit_code == code
    assert report.objectives[0].verdict is Outcome.INCONCLUSIVE
    assert report.verdict == "too small"


def test_a_finding_at_or_above_fail_on_fails_the_gate(tmp_path):
    arguments = pool(work(4, 60, hold=0.015), 50)
    for severity, code in (("warning", Exit.GATE_FAILED), ("error", Exit.DONE)):
        assert loadtest(tmp_path, gate=Settings(fail_on=severity), **arguments).exit_code == code


@pytest.mark.parametrize(("says", "code"), [("pass", Exit.DONE), ("fail", Exit.GATE_FAILED), (None, Exit.INCONCLUSIVE)])
def test_what_an_inconclusive_gate_counts_as_is_the_users_choice(tmp_path, says, code):
    report = loadtest(tmp_path, gate=Settings(inconclusive=says), lag=0.05, **pool(work(60, 30), 14))
    assert report.exit_code == code


def test_objectives_of_the_settings_replace_those_of_the_run(tmp_path):
    report = loadtest(tmp_path, gate=Settings(slo=("max hold < 1ms",)), **pool(work(60, 30), 14))
    assert [result.objective for result in report.objectives] == ["max hold < 1ms"]
    assert report.exit_code == Exit.GATE_FAILED


def test_a_leak_is_a_leak_and_not_a_pool_that_is_too_small(tmp_path):
    """Four of five connections are gone for good when the others time out."""
    taken = [
        Lease(1.0 + k, None, end="open", sql=0.01, connection=k + 2, site="app/leak.py:7 export") for k in range(4)
    ]
    rest = [
        Lease(k * 0.03, None, wait=1.0, end="timed_out")
        if k % 2 and k > 200
        else Lease(k * 0.03, 0.05, sql=0.045, wait=0.0 if k < 200 else 0.4)
        for k in range(1000)
    ]
    report = watched(
        tmp_path,
        leases=[*taken, *rest],
        duration=60.0,
        settings={"pool_size": 5, "max_overflow": 0, "pool_timeout_s": 1.0},
    )
    assert report.verdict == "leaking"
    assert "4 connections never returned" in report.summary
    assert "app/leak.py:7 export" in next(finding for finding in report.findings if finding.code == "PC101").sites


def test_one_leak_without_any_waiting_is_still_a_leak(tmp_path):
    leases = [*through_pool(work(20, 30), 5), Lease(1.0, None, end="open", connection=99)]
    assert watched(tmp_path, leases=leases).verdict == "leaking"


def test_tasks_that_hold_one_and_wait_for_another_are_nested(tmp_path):
    outer = [Lease(k * 0.5, 1.2, task=k + 1, connection=k % 4 + 1, sql=0.1) for k in range(60)]
    inner = [Lease(k * 0.5 + 0.1, None, wait=1.0, end="timed_out", task=k + 1) for k in range(60)]
    report = watched(
        tmp_path, leases=outer + inner, settings={"pool_size": 4, "max_overflow": 0, "pool_timeout_s": 1.0}
    )
    assert report.verdict == "nested checkouts"
    finding = next(finding for finding in report.findings if finding.code == "PC601")
    assert finding.severity.value == "critical"
    assert "3 × (2 − 1) + 1 = 4" in " ".join(finding.evidence)


def test_waiting_with_connections_free_is_a_starved_loop(tmp_path):
    leases = [Lease(k * 0.1, 0.02, wait=0.3, sql=0.018) for k in range(300)]
    report = watched(tmp_path, leases=leases, settings={"pool_size": 10, "max_overflow": 0})
    assert report.verdict == "starved"


def test_a_database_that_no_pool_can_help_is_slow(tmp_path):
    """SQL fills the hold, and the sizing finds no larger pool that would do."""
    arguments = pool(work(60, 30, hold=0.2), 5, sql=None)
    report = watched(tmp_path, **arguments)
    assert report.verdict in ("too small", "database slow")
    assert "database: SQL took 100 % of the hold" in "\n".join(report.evidence)


def test_a_watched_application_that_holds_idle_is_told_so_when_no_size_helps(tmp_path):
    """Every request waits, but for holders that do nothing: and a pool as large as the server allows is no way out."""
    arguments = pool(work(60, 30, hold=0.2), 5)
    report = watched(tmp_path, server={"max_connections": 5, "reserved_connections": 0}, **arguments)
    assert report.verdict == "held idle"


def test_an_engine_without_a_pool_is_misconfigured(tmp_path):
    none = {"pool_size": None, "max_overflow": None, "pool_timeout_s": None}
    leases = [Lease(k * 0.1, 0.05, fresh=True) for k in range(100)]
    report = watched(tmp_path, leases=leases, settings=none, pool_class="NullPool")
    assert report.verdict == "misconfigured"
    assert "NullPool opens a connection for every checkout" in report.summary
    assert report.pool.utilisation is None


def test_too_few_requests_cannot_tell(tmp_path):
    report = loadtest(tmp_path, **pool(work(2, 10), 5))
    assert report.verdict == "cannot tell"
    assert "a p95 needs 59" in report.summary


def test_a_run_without_any_lease_cannot_tell_and_is_inconclusive(tmp_path):
    report = analyse(write_run(tmp_path, duration=10.0, objectives=OBJECTIVES))
    assert (report.verdict, report.exit_code) == ("cannot tell", Exit.INCONCLUSIVE)
    assert report.sizing is None


def test_the_report_survives_json(tmp_path):
    report = loadtest(tmp_path, **pool(bursts(), 5))
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["schema"] == "poolctl.report/1"
    assert Report.from_json(data).to_json() == report.to_json()


def test_the_same_run_gives_the_same_report_from_the_kept_tables(tmp_path):
    run = write_run(tmp_path, objectives=OBJECTIVES, **pool(bursts(), 5))
    first, second = analyse(run).to_json(), analyse(run).to_json()
    assert json.dumps(first) == json.dumps(second)


def test_the_numbers_of_the_pool_are_those_of_the_leases(tmp_path):
    leases = [
        Lease(0.0, 4.0, fresh=True, connect=0.001, connection=1),
        Lease(1.0, 1.999, fresh=True, connect=0.001, connection=2),
        Lease(2.0, 2.0, wait=1.0, connection=2),
        Lease(9.0, 1.0, connection=1),
    ]
    report = watched(tmp_path, leases=leases, settings={"pool_size": 2, "max_overflow": 0}, duration=10.0)
    info = report.pool
    assert (info.peak_checked_out, info.peak_waiting, info.peak_overflow) == (2, 1, 0)
    assert info.mean_checked_out == pytest.approx(0.9, abs=0.01)
    assert info.utilisation == pytest.approx(0.45, abs=0.01)
    assert info.connects_per_1000 == 500.0
    assert 60 <= len(info.timeline) <= 120
    assert sum(point.arrivals for point in info.timeline) == 4
    assert report.leases.total == report.leases.returned == 4


def test_waiting_is_charged_to_those_who_held_meanwhile(tmp_path):
    leases = [
        Lease(0.0, 4.0, site="a.py:1 f", connection=1),
        Lease(0.0, 2.0, site="b.py:1 g", connection=2),
        Lease(1.0, 0.5, site="c.py:1 h", wait=1.0, connection=2),
    ]
    report = watched(tmp_path, leases=leases, settings={"pool_size": 2, "max_overflow": 0})
    caused = {row.site: row.wait_caused_s for row in report.sites}
    assert caused == pytest.approx({"a.py:1 f": 0.5, "b.py:1 g": 0.5, "c.py:1 h": 0.0})
    shares = {row.site: row.hold_share for row in report.sites}
    assert shares == pytest.approx({"a.py:1 f": 4 / 6.5, "b.py:1 g": 2 / 6.5, "c.py:1 h": 0.5 / 6.5})
    assert report.sites[0].site == "a.py:1 f"


def test_several_processes_share_one_capacity_in_the_report(tmp_path):
    leases = [Lease(k * 0.1, 0.5, process=4001 + k % 2, connection=k + 1) for k in range(100)]
    report = watched(tmp_path, leases=leases, settings={"pool_size": 5, "max_overflow": 0})
    assert report.pool.peak_checked_out == 5
    assert report.pool.utilisation == pytest.approx(0.5, abs=0.02)


def test_a_connection_that_outlived_its_operation_is_a_leak_at_once(tmp_path):
    leases = [*through_pool(work(20, 29), 5), Lease(29.5, None, end="open", connection=9, item=9999, intended=29.5)]
    operations = [*operations_of(leases[:-1]), Operation(29.5, 29.6, item=9999)]
    report = loadtest(tmp_path, leases=leases, operations=operations, duration=30.0)
    finding = next(finding for finding in report.findings if finding.code == "PC101")
    assert (report.verdict, finding.confidence) == ("leaking", "high")
    assert "1 lease outlived the operation" in " ".join(finding.evidence)


def test_holds_that_the_window_cuts_through_break_littles_law_of_a_load_test(tmp_path):
    whole = [Lease(k * 0.2, 0.05, connection=100 + k) for k in range(100)]
    cut = [Lease(16.5 + k * 0.1, None, end="open", connection=k + 1) for k in range(30)]
    both = {"leases": [*whole, *cut], "duration": 20.0, "settings": {"pool_size": 50}}
    report = loadtest(tmp_path / "a", operations=operations_of(whole), **both)
    assert not next(check for check in report.validity if check.check == "Little's law").ok
    assert report.exit_code == Exit.INCONCLUSIVE
    report = loadtest(tmp_path / "b", leases=whole, operations=operations_of(whole), duration=20.0)
    assert next(check for check in report.validity if check.check == "Little's law").ok
    report = watched(tmp_path / "c", **both)
    assert report.exit_code == Exit.DONE, "the window of a watched application cuts through what goes on"


def test_a_run_that_does_not_count_is_inconclusive_even_without_objectives(tmp_path):
    report = loadtest(tmp_path, lag=3.0, objectives=[], **pool(work(60, 30), 14))
    assert (report.objectives, report.exit_code) == ([], Exit.INCONCLUSIVE)


def test_a_connect_that_failed_at_once_is_no_fast_acquire(tmp_path):
    leases = [Lease(k * 0.1, 0.05, wait=0.02) for k in range(80)]
    refused = [Lease(k * 0.1, None, connect=0.001, end="failed", error="OSError") for k in range(80)]
    report = watched(tmp_path, leases=leases + refused)
    assert report.times.acquire_time_s.count == 80
    assert report.times.acquire_time_s.p50 == pytest.approx(0.02)
