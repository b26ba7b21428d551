"""Ratios and their intervals hold what they claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from poolctl.analysis.ratio import Noise, detectable, holm, paired, rates, runs_needed, unpaired, within

LOGS = st.lists(st.floats(-3, 3), min_size=2, max_size=9)


def test_paired_limits_are_those_of_the_t_distribution() -> None:
    base, head = [0.0, 0.1, 0.2, 0.3], [0.1, 0.3, 0.2, 0.5]
    found = paired(base, head, 0.05, 0.1, None)
    differences = np.subtract(head, base)
    expected = scipy_stats.ttest_1samp(differences, math.log(1.1), alternative="greater")
    interval = scipy_stats.ttest_1samp(differences, 0).confidence_interval(0.90)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mde == pytest.approx(
        (scipy_stats.t.ppf(0.95, 3) + scipy_stats.t.ppf(0.8, 3)) * differences.std(ddof=1) / 2
    )


def test_one_new_run_is_held_to_the_prediction_limit_of_the_old_ones() -> None:
    base = np.random.default_rng(3).normal(0, 0.1, 12)
    found = unpaired(base.tolist(), [0.25], 0.05, 0.1)
    limit = base.mean() + scipy_stats.t.ppf(0.95, 11) * base.std(ddof=1) * math.sqrt(1 + 1 / 12)
    assert found.low is not None
    assert 0.25 - found.low == pytest.approx(limit)


def test_one_run_a_side_has_no_spread_unless_a_calibration_gave_one() -> None:
    assert paired([0.0], [1.0], 0.05, 0.1, None).low is None
    assert unpaired([0.0], [1.0], 0.05, 0.1).low is None
    known = paired([0.0], [1.0], 0.05, 0.1, Noise(0.05, 9))
    assert known.low == pytest.approx(1.0 - scipy_stats.t.ppf(0.95, 9) * 0.05)


def test_what_is_the_same_in_every_run_needs_no_test() -> None:
    assert paired([0.0, 0.0], [0.5, 0.5], 0.05, 0.1, None).p == 0.0
    assert paired([0.2, 0.7], [0.2, 0.7], 0.05, 0.1, None).p == 1.0


@given(LOGS, LOGS)
def test_the_interval_holds_the_ratio_and_pass_and_fail_exclude_each_other(
    base: list[float], head: list[float]
) -> None:
    found = unpaired(base, head, 0.05, 0.1)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.log_ratio <= found.high
    assert not (found.above(math.log(1.1)) and found.below(math.log(1.1)))


def test_counts_are_judged_as_the_exact_conditional_test_judges_them() -> None:
    found = rates((4, 1000), (16, 1000), 0.05, 0.0)
    assert found is not None
    assert found.p == pytest.approx(scipy_stats.binomtest(16, 20, 0.5, alternative="greater").pvalue)
    limit = scipy_stats.binomtest(16, 20, 0.5, alternative="greater").proportion_ci(0.95, "exact").low
    assert found.low is not None
    assert math.exp(found.low) == pytest.approx(limit / (1 - limit))
    assert rates((0, 1000), (0, 1000), 0.05, 0.1) is None


def test_two_single_runs_are_compared_by_what_varies_within_them() -> None:
    assert within((0.0, 0.01), (0.5, 0.01), 0.05, 0.1).above(math.log(1.1))
    assert not within((0.0, 0.5), (0.5, 0.5), 0.05, 0.1).above(math.log(1.1))


def test_holm_lets_fall_what_is_small_enough_for_its_rank_and_stops_there() -> None:
    assert holm([0.01, 0.04, 0.03, None], 0.05) == [True, False, False, False]
    assert holm([0.01, 0.02, 0.03], 0.06) == [True, True, True]
    assert holm([], 0.05) == []


def test_the_number_of_pairs_and_the_detectable_effect_are_inverse() -> None:
    for spread in (0.03, 0.1, 0.23):
        count = runs_needed(spread, 0.10, 0.05)
        assert detectable(spread, count, 0.05) <= 0.10
        assert count == 2 or detectable(spread, count - 1, 0.05) > 0.10
