import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from poolctl.analysis import sweep

intervals = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), min_size=1, max_size=25)


def arrays(pairs):
    starts = np.array([start for start, _ in pairs], float)
    return starts, starts + np.array([length for _, length in pairs], float)


@given(intervals)
def test_the_level_is_the_number_of_intervals_that_contain_the_instant(pairs):
    starts, ends = arrays(pairs)
    steps = sweep.count(starts, ends)
    for instant in np.arange(-1, 85, 0.5):
        assert steps.at_instants(np.array([instant]))[0] == ((starts <= instant) & (instant < ends)).sum()


@given(intervals)
def test_the_integral_of_the_level_is_the_sum_of_the_lengths(pairs):
    starts, ends = arrays(pairs)
    steps = sweep.count(starts, ends)
    assert np.isclose(steps.integral_to(np.array([100.0]))[0], (ends - starts).sum())


@given(intervals, st.integers(1, 12))
def test_slices_keep_the_integral_and_the_peak(pairs, slices):
    starts, ends = arrays(pairs)
    steps = sweep.count(starts, ends)
    edges = np.linspace(0, 81, slices + 1)
    assert np.isclose((steps.means(edges) * np.diff(edges)).sum(), (ends - starts).sum())
    assert steps.peaks(edges).max() == steps.peak


@given(intervals, intervals)
def test_the_waiting_is_shared_out_among_the_holders_and_none_of_it_is_lost_while_somebody_holds(holds, waits):
    starts, ends = arrays(holds)
    suffering = sweep.count(*arrays(waits))
    found = sweep.share_of(suffering, starts, ends)
    held = sweep.count(starts, ends)
    grid = np.arange(0, 82, 1.0)
    expected = np.zeros(len(starts))
    for instant in grid:
        holders = (starts <= instant) & (instant < ends)
        if holders.any():
            expected[holders] += suffering.at_instants(np.array([instant]))[0] / holders.sum()
    assert np.allclose(found, expected)
    assert held.peak >= 0


@given(intervals, intervals)
def test_the_sum_of_step_functions_is_their_sum_at_every_instant(first, second):
    one, other = sweep.count(*arrays(first)), sweep.count(*arrays(second))
    both = sweep.total([one, other])
    grid = np.arange(-1, 85, 0.5)
    assert (both.at_instants(grid) == one.at_instants(grid) + other.at_instants(grid)).all()


def test_nothing_at_all_has_no_peak_and_no_mean():
    steps = sweep.count(np.empty(0), np.empty(0))
    edges = np.array([0.0, 1.0, 2.0])
    assert steps.peak == 0
    assert list(steps.means(edges)) == [0.0, 0.0]
    assert list(steps.peaks(edges)) == [0, 0]
