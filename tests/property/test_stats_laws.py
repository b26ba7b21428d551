import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from poolctl.analysis import stats

values = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=700)


@given(values)
def test_a_distribution_is_ordered_made_of_samples_and_silent_where_unsupported(made):
    found = stats.dist(made)
    given_quantiles = [q for q in (found.p50, found.p90, found.p95, found.p99) if q is not None]
    assert given_quantiles == sorted(given_quantiles)
    assert all(q in made for q in given_quantiles)
    assert found.max == max(made)
    for q, value in ((0.5, found.p50), (0.9, found.p90), (0.95, found.p95), (0.99, found.p99)):
        assert (value is None) == (len(made) < stats.needed(q))
        if value is not None:
            below = sum(x <= value for x in made)
            assert below >= math.ceil(round(q * len(made), 9))
            assert sum(x < value for x in made) < math.ceil(round(q * len(made), 9))


@given(values)
def test_an_interval_contains_its_quantile(made):
    found = stats.dist(made)
    if found.ci95_p95 is not None:
        low, high = found.ci95_p95
        assert low <= found.p95 <= high


@given(values, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_only_the_interval(made, random):
    shuffled = list(made)
    random.shuffle(shuffled)
    first, second = stats.dist(made), stats.dist(shuffled)
    assert (first.p50, first.p90, first.p95, first.p99, first.max) == (
        second.p50,
        second.p90,
        second.p95,
        second.p99,
        second.max,
    )


@given(st.integers(1, 2000), st.data())
def test_the_interval_of_a_share_is_clopper_and_pearson(count, data):
    hits = data.draw(st.integers(1, max(1, count - 1)))
    if hits >= count:
        return
    expected = binomtest(hits, count).proportion_ci(0.95, method="exact")
    assert stats.share_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-7)


@given(st.lists(st.booleans(), min_size=2, max_size=800))
def test_samples_are_never_worth_more_than_their_number(made):
    assert stats.inflation(np.array(made)) >= 1.0
