"""Laws that hold for any pool, whatever the program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolctl.analysis.pool_model import THREAD_WAKE_S, End, EventReplay, Outcome, Rules, Work, replay


@st.composite
def works(draw: st.DrawFn, connects: bool = False) -> Work:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 200))
    gap, hold = draw(st.sampled_from([0.001, 0.01, 0.05])), draw(st.sampled_from([0.005, 0.1]))
    at = np.sort(random.uniform(0, gap * count, count))
    return Work(at, random.exponential(hold, count), np.full(count, 0.004 if connects else 0.0))


RULES = st.builds(
    Rules, pool_size=st.integers(1, 8), max_overflow=st.integers(0, 4), pool_timeout_s=st.sampled_from([0.02, 1.0, 1e6])
)


def held(outcome: Outcome) -> list[tuple[float, float]]:
    served = outcome.end == End.RETURNED
    return list(zip(outcome.granted_at_s[served].tolist(), outcome.ended_at_s[served].tolist(), strict=True))


@given(works(), st.integers(1, 8))
@settings(max_examples=150, deadline=None)
def test_one_more_connection_never_raises_a_wait_when_holds_are_fixed(work: Work, size: int) -> None:
    fewer, more = (replay(work, Rules(count, 0, 1e9)).wait_s for count in (size, size + 1))
    assert (more <= fewer + 1e-9).all()


@given(works(connects=True), RULES)
@settings(max_examples=150, deadline=None)
def test_ample_capacity_means_that_nobody_waits(work: Work, rules: Rules) -> None:
    outcome = replay(work, Rules(len(work), rules.max_overflow, rules.pool_timeout_s))
    assert not outcome.wait_s.any()
    assert outcome.timeout_rate == 0


@given(works(connects=True), RULES)
@settings(max_examples=150, deadline=None)
def test_every_request_ends_once_and_never_more_are_held_than_the_capacity(work: Work, rules: Rules) -> None:
    outcome = replay(work, rules)
    assert not np.isnan(outcome.ended_at_s).any()
    assert np.isnan(outcome.acquired_at_s).sum() == (outcome.end == End.TIMED_OUT).sum()
    changes = sorted([(end, -1) for _, end in held(outcome)] + [(start, 1) for start, _ in held(outcome)])
    level = peak = 0
    for _, change in changes:
        level += change
        peak = max(peak, level)
    assert level == 0
    assert peak <= rules.capacity
    assert outcome.peak_open <= rules.capacity


@given(works(connects=True), RULES)
@settings(max_examples=150, deadline=None)
def test_nobody_waits_longer_than_the_timeout_and_acquire_is_at_least_the_wait(work: Work, rules: Rules) -> None:
    outcome = replay(work, rules)
    assert (outcome.wait_s >= 0).all()
    assert (outcome.wait_s <= rules.pool_timeout_s + 1e-9).all()
    assert (outcome.acquire_s >= outcome.wait_s - 1e-9).all()


@given(works(), st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_littles_law_the_area_of_the_queue_is_the_sum_of_the_waits(work: Work, size: int) -> None:
    outcome = replay(work, Rules(size, 0, 1e9))
    at = np.concatenate([outcome.requested_at_s, outcome.granted_at_s])
    step = np.concatenate([np.ones(len(work)), -np.ones(len(work))])
    order = np.argsort(at, kind="stable")
    queue = np.cumsum(step[order])[:-1]
    area = float((queue * np.diff(at[order])).sum())
    assert area == pytest.approx(float(outcome.wait_s.sum()), abs=1e-6)


@given(works(), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_first_come_is_first_served_in_async(work: Work, size: int) -> None:
    granted = EventReplay(work, Rules(size, 0, 1e9)).run().granted_at_s
    assert (np.diff(granted) >= 0).all()


def test_threads_barge_so_the_tail_grows_and_the_median_hardly_moves() -> None:
    random = np.random.default_rng(5)
    count = 30_000
    work = Work(np.cumsum(random.exponential(0.0005, count)), random.exponential(0.0045, count), np.zeros(count))
    fair = EventReplay(work, Rules(10, 0, 1e9)).run().wait_s
    threads = EventReplay(work, Rules(10, 0, 1e9, wake_s=THREAD_WAKE_S)).run().wait_s
    assert np.quantile(threads, 0.99) > 1.1 * np.quantile(fair, 0.99)
    assert np.quantile(threads, 0.5) < 1.5 * np.quantile(fair, 0.5) + 1e-3


def test_a_waiter_that_finds_a_silently_freed_slot_after_its_timeout_opens_a_connection() -> None:
    """The overflow connection closes from 0.06 to 0.26; the last request waits from 0.2 and is not told."""
    work = Work(np.array([0.0, 0.01, 0.1, 0.2]), np.array([0.05, 0.05, 1.0, 0.1]), np.zeros(4), close_s=0.2)
    outcome = replay(work, Rules(1, 1, 0.3))
    assert outcome.end[3] == End.RETURNED
    assert outcome.granted_at_s[3] == pytest.approx(0.5)
    assert outcome.opened[3]
    assert replay(work, Rules(1, 1, 0.05)).end[3] == End.TIMED_OUT


def test_a_failed_connect_frees_its_slot_but_wakes_nobody() -> None:
    fails = np.array([True, False, False])
    work = Work(np.array([0.0, 0.01, 0.25]), np.full(3, 0.05), np.full(3, 0.1), connect_fails=fails)
    outcome = replay(work, Rules(1, 0, 5.0))
    assert outcome.end[0] == End.FAILED
    assert outcome.granted_at_s[2] == 0.25, "the newcomer takes the slot that the waiter was not told of"
    assert outcome.granted_at_s[1] == pytest.approx(0.4)


def test_a_woken_waiter_that_was_beaten_looks_for_nothing_but_a_returned_connection() -> None:
    """The second connect failed and freed a slot silently; the first client returns, asks again at once and is faster
    than the waiter, which goes back to the end of the queue instead of opening a connection."""
    work = Work(
        np.array([0.0, 0.01, 0.05, 0.0]),
        np.array([0.2, 0.0, 0.1, 0.3]),
        np.array([0.0, 0.1, 0.0, 0.0]),
        connect_fails=np.array([False, True, False, False]),
        next_request=np.array([3, -1, -1, -1]),
        think_s=np.zeros(4),
    )
    outcome = replay(work, Rules(1, 1, 5.0))
    assert outcome.granted_at_s[3] == pytest.approx(0.2)
    assert outcome.granted_at_s[2] == pytest.approx(0.5)
    assert not outcome.opened[2]
