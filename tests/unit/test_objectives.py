"""Objectives: read before the run, judged after it, never passed without data."""

import pytest
from synthesis import Lease, operations_of, through_pool, write_run

from poolctl.analysis.gate import judge
from poolctl.analysis.leases import tables
from poolctl.analysis.objectives import parse
from poolctl.analysis.summary import target_of
from poolctl.analysis.view import View
from poolctl.errors import UsageError
from poolctl.trace.report import Outcome


@pytest.mark.parametrize(
    ("text", "statistic", "measure", "sign", "limit", "per_s"),
    [
        ("p95 wait < 50ms", "p95", "wait", "<", 0.05, False),
        ("p99 hold < 2s", "p99", "hold", "<", 2.0, False),
        ("p99.9 acquire<=1m", "p99.9", "acquire", "<=", 60.0, False),
        ("MAX Response < 1.5 s", "max", "response", "<", 1.5, False),
        ("mean hold_time >= 0", "mean", "hold", ">=", 0.0, False),
        ("rate timeouts < 0.1%", "rate", "timeouts", "<", 0.001, False),
        ("rate timeouts < 0.001", "rate", "timeouts", "<", 0.001, False),
        ("rate connects < 6/min", "rate", "connects", "<", 0.1, True),
        ("count leaks == 0", "count", "leaks", "==", 0.0, False),
        ("wait < 50ms", "p95", "wait", "<", 0.05, False),
        ("timeouts < 1%", "rate", "timeouts", "<", 0.01, False),
        ("skipped == 0", "count", "skipped", "==", 0.0, False),
    ],
)
def test_an_objective_is_read(text, statistic, measure, sign, limit, per_s):
    found = parse(text)
    assert (found.statistic, found.measure, found.sign, found.per_s) == (statistic, measure, sign, per_s)
    assert found.limit == pytest.approx(limit)


def test_an_objective_is_shown_with_the_statistic_that_is_meant():
    assert parse("  wait   <50ms ").text == "p95 wait < 50ms"


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("faster please", "it is not", "p95 wait < 50ms"),
        ("", "it is not", "p95 wait < 50ms"),
        ("p95 latency < 50ms", "no measure 'latency'", "acquire, wait, connect"),
        ("p95 waits < 50ms", "no measure 'waits'", "did you mean 'wait'?"),
        ("p42 wait < 50ms", "no p42 of wait", "p50, p90, p95"),
        ("p95 timeouts < 1%", "no p95 of timeouts", "count, rate"),
        ("rate wait < 1%", "no rate of wait", "p50, p90, p95"),
        ("p95 wait < 50", "has no unit", "50ms"),
        ("p95 wait < soon", "cannot read 'soon' as a duration", "250ms"),
        ("rate timeouts < 150%", "no share", "0.1%"),
        ("rate timeouts < often", "cannot read 'often' as a rate", "0.1%"),
        ("rate timeouts < 1/fortnight", "as a rate", "2/min"),
        ("count leaks < 0.5", "as a count", "whole number"),
    ],
)
def test_what_cannot_be_an_objective_is_refused_and_says_what_can(text, why, hint):
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert why in refused.value.message
    assert hint in refused.value.hint
    assert "\n" not in refused.value.message + refused.value.hint


def judged(tmp_path, text, leases, invalid="", operations=True, **more):
    run = write_run(tmp_path, leases, operations=operations_of(leases) if operations else (), **more)
    made = tables(run)
    return judge(parse(text), View(made, target_of(made)), invalid)


def waits(count, slow, wait=0.2):
    """`count` requests, every one in `slow` of which waits."""
    return [Lease(k * 0.1, 0.05, wait=wait if slow and k % slow == 0 else 0.0) for k in range(count)]


def test_a_quantile_well_below_its_limit_passes(tmp_path):
    result = judged(tmp_path, "p95 wait < 50ms", waits(400, 0))
    assert (result.verdict, result.value, result.ci) == (Outcome.PASS, 0.0, (0.0, 0.0))


def test_a_quantile_well_above_its_limit_fails(tmp_path):
    result = judged(tmp_path, "p95 wait < 50ms", waits(400, 4))
    assert (result.verdict, result.value) == (Outcome.FAIL, pytest.approx(0.2))


def test_a_quantile_at_its_limit_is_no_coin_toss(tmp_path):
    result = judged(tmp_path, "p95 wait < 50ms", waits(400, 20))
    assert result.verdict is Outcome.INCONCLUSIVE
    assert "5.00 % of 400" in result.reason
    assert "run longer" in result.reason


def test_sixty_good_samples_are_enough_for_a_p95(tmp_path):
    assert judged(tmp_path, "p95 wait < 50ms", waits(60, 0)).verdict is Outcome.PASS


def test_a_quantile_that_the_sample_does_not_support_is_inconclusive(tmp_path):
    result = judged(tmp_path, "p99 wait < 50ms", waits(200, 0))
    assert (result.verdict, result.value) == (Outcome.INCONCLUSIVE, None)
    assert result.reason == "p99 needs 299 samples, there are 200"


def test_waits_that_come_in_one_burst_prove_less_than_scattered_ones(tmp_path):
    scattered = judged(tmp_path / "a", "p90 wait < 50ms", waits(2000, 14))
    burst = [Lease(k * 0.1, 0.05, wait=0.2 if k < 2000 // 14 else 0.0) for k in range(2000)]
    together = judged(tmp_path / "b", "p90 wait < 50ms", burst)
    assert scattered.verdict is Outcome.PASS
    assert together.verdict is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("text", ["p95 wait < 50ms", "max hold < 1s", "rate timeouts < 1%", "count leaks == 0"])
def test_without_samples_nothing_passes(tmp_path, text):
    assert judged(tmp_path, text, [], duration=10.0).verdict is Outcome.INCONCLUSIVE


def test_no_pings_means_no_ping_times(tmp_path):
    result = judged(tmp_path, "p95 ping < 5ms", waits(100, 0))
    assert (result.verdict, result.reason) == (Outcome.INCONCLUSIVE, "no ping time was measured")


def test_no_timeout_in_300_says_less_than_one_percent_and_nothing_about_a_tenth_of_it(tmp_path):
    assert judged(tmp_path / "a", "rate timeouts < 1%", waits(300, 0)).verdict is Outcome.PASS
    result = judged(tmp_path / "b", "rate timeouts < 0.1%", waits(300, 0))
    assert result.verdict is Outcome.INCONCLUSIVE
    assert result.ci == pytest.approx((0.0, 0.00994), rel=0.01)
    assert "2,995 without one would show it" in result.reason


def test_a_rate_far_above_its_limit_fails(tmp_path):
    leases = through_pool([(k * 0.01, 0.1) for k in range(500)], size=2, timeout=0.2)
    result = judged(tmp_path, "rate timeouts < 1%", leases)
    assert result.verdict is Outcome.FAIL
    assert result.ci[0] > 0.01


def test_counts_and_maxima_are_facts_of_the_run(tmp_path):
    leases = [*waits(100, 0), Lease(5.0, 0.1, end="abandoned")]
    assert judged(tmp_path / "a", "count leaks == 0", leases).verdict is Outcome.FAIL
    assert judged(tmp_path / "b", "count timeouts == 0", leases).verdict is Outcome.PASS
    assert judged(tmp_path / "c", "max hold < 60ms", leases).verdict is Outcome.FAIL
    assert judged(tmp_path / "d", "max hold <= 100ms", leases).verdict is Outcome.PASS


def test_a_mean_is_judged_by_the_interval_of_its_batches(tmp_path):
    leases = [Lease(k * 0.1, 0.05 + 0.01 * (k % 7)) for k in range(200)]
    assert judged(tmp_path / "a", "mean hold < 200ms", leases).verdict is Outcome.PASS
    assert judged(tmp_path / "b", "mean hold < 50ms", leases).verdict is Outcome.FAIL
    assert judged(tmp_path / "c", "mean hold < 80ms", leases).verdict is Outcome.INCONCLUSIVE


def test_errors_are_those_of_the_operations_where_there_are_any(tmp_path):
    leases = [*waits(100, 0), Lease(5.0, None, end="failed", connect=0.01, error="OSError")]
    assert judged(tmp_path / "a", "count errors == 1", leases).value == 1.0
    assert judged(tmp_path / "b", "count errors == 1", leases, operations=False).value == 1.0


def test_a_rate_per_time_counts_events_of_the_run(tmp_path):
    leases = [Lease(k * 0.1, 0.05, fresh=k % 10 == 0) for k in range(600)]
    result = judged(tmp_path, "rate connects < 10/s", leases, duration=60.0)
    assert (result.value, result.verdict) == (pytest.approx(1.0, rel=0.01), Outcome.PASS)


def test_nothing_is_concluded_from_a_run_that_does_not_count(tmp_path):
    good = judged(tmp_path / "a", "p95 wait < 50ms", waits(400, 0), invalid="the generator was late")
    bad = judged(tmp_path / "b", "p95 wait < 50ms", waits(400, 4), invalid="the generator was late")
    assert (good.verdict, good.reason) == (Outcome.INCONCLUSIVE, "the generator was late")
    assert bad.verdict is Outcome.INCONCLUSIVE


def test_lag_and_response_are_those_of_the_operations(tmp_path):
    leases = waits(400, 0)
    run = write_run(tmp_path, leases, operations=operations_of(leases, lag=0.01))
    made = tables(run)
    view = View(made, target_of(made))
    assert judge(parse("p95 lag < 5ms"), view).value == pytest.approx(0.01)
    assert judge(parse("p95 response < 5ms"), view).value == pytest.approx(0.06)
