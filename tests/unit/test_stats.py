"""Statistics with known answers."""

import math

import numpy as np
import pytest

from poolctl.analysis import stats
from poolctl.trace.report import Dist


@pytest.mark.parametrize(("q", "least"), [(0.5, 5), (0.9, 29), (0.95, 59), (0.99, 299), (0.999, 2995)])
def test_a_quantile_needs_as_many_samples_as_hold_a_bound_of_it(q, least):
    assert stats.needed(q) == least
    assert stats.quantile(np.arange(least - 1, dtype=float), q) is None
    assert stats.quantile(np.arange(least, dtype=float), q) is not None


def test_a_quantile_is_the_smallest_sample_that_the_share_does_not_exceed():
    assert stats.quantile(np.arange(1, 101, dtype=float), 0.95) == 95.0
    assert stats.quantile(np.arange(1, 102, dtype=float), 0.95) == 96.0
    assert stats.quantile(np.array([1.0, 2, 3, 4, 5, 6]), 0.5) == 3.0


def test_the_summary_of_a_hundred_numbers():
    found = stats.dist(np.arange(1.0, 101.0))
    assert found == Dist(100, 50.5, 50.0, 90.0, 95.0, None, 100.0, found.ci95_p95)


def test_nan_is_no_sample():
    assert stats.dist([math.nan, 2.0, math.nan]) == Dist(1, 2.0, max=2.0)
    assert stats.dist([math.nan]) == Dist(0)
    assert stats.dist([]) == Dist(0)


def test_the_interval_of_independent_samples_has_the_textbook_ranks():
    made = np.random.default_rng(0).permutation(np.arange(1.0, 10_001.0))
    low, high = stats.quantile_interval(made, 0.95)
    half = 1.96 * math.sqrt(10_000 * 0.95 * 0.05)
    assert 9500 - 1.6 * half < low < 9500 - 0.9 * half
    assert 9500 + 0.9 * half < high < 9500 + 1.6 * half


def test_an_interval_whose_rank_lies_beyond_the_sample_is_not_given():
    made = np.random.default_rng(0).random(60)
    assert stats.quantile(np.sort(made), 0.95) is not None
    assert stats.quantile_interval(made, 0.95) is None


def test_samples_in_runs_are_worth_fewer():
    independent = np.random.default_rng(1).random(2000)
    in_runs = np.repeat(np.random.default_rng(1).random(100), 20)
    assert stats.inflation(independent) < 2.5
    assert 10 < stats.inflation(in_runs) < 40


def test_the_interval_covers_the_truth_though_samples_come_in_runs():
    covered = given = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        made = np.repeat(random.exponential(1.0, 500), 5) + random.exponential(0.01, 2500)
        interval = stats.quantile_interval(made, 0.9)
        if interval is not None:
            given += 1
            covered += interval[0] <= -math.log(0.1) + 0.01 <= interval[1]
    assert given > 190
    assert covered / given > 0.9


def test_shares_have_their_exact_interval():
    assert stats.share_interval(5, 100) == pytest.approx((0.016431879, 0.11283491), rel=1e-6)
    assert stats.share_interval(0, 300) == pytest.approx((0.0, 3 / 300), rel=0.01)
    low, high = stats.share_interval(300, 300)
    assert (low, high) == (pytest.approx(1 - 3 / 300, rel=1e-3), 1.0)
    assert stats.share_interval(0, 0) == (0.0, 1.0)


def test_counts_have_their_exact_interval():
    assert stats.count_interval(10) == pytest.approx((4.795389, 18.390356), rel=1e-6)
    assert stats.count_interval(0) == pytest.approx((0.0, 2.995732), rel=1e-6)


def test_a_mean_has_an_interval_of_batch_means():
    made = np.random.default_rng(2).normal(10.0, 1.0, 4000)
    low, high = stats.mean_interval(made)
    assert low < 10.0 < high
    assert 0.03 < high - low < 0.12
    assert stats.mean_interval(made[:39]) is None


def test_warm_up_is_cut_where_the_rest_is_level():
    random = np.random.default_rng(3)
    level = random.normal(1.0, 0.1, 1000)
    ramp = np.concatenate([np.linspace(6.0, 1.0, 100) + random.normal(0, 0.1, 100), level])
    assert stats.warm_up(level) < 100
    assert 60 <= stats.warm_up(ramp) <= 160


def test_a_load_that_never_settles_has_no_warm_up_to_cut():
    assert stats.warm_up(np.linspace(0.0, 1.0, 1000) ** 6) is None
    assert stats.warm_up(np.zeros(19)) is None


def test_littles_law_holds_when_everything_that_came_has_left():
    starts, ends = np.array([0.0, 1.0, 2.0]), np.array([2.0, 3.0, 4.0])
    assert stats.littles_law(starts, ends, 10.0) == pytest.approx((0.6, 0.6))


def test_littles_law_fails_where_ends_are_missing():
    starts, ends = np.array([0.0, 1.0, 2.0]), np.array([2.0, np.nan, 4.0])
    present, expected = stats.littles_law(starts, ends, 10.0)
    assert present == pytest.approx(1.3)
    assert expected == pytest.approx(0.4)
    assert stats.littles_law(np.empty(0), np.empty(0), 10.0) == (0.0, 0.0)
