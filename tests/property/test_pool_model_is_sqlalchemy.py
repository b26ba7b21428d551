"""The model and SQLAlchemy's own pool, on one random program in virtual time, agree to the last digit."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.util.queue import AsyncAdaptedQueue
from virtual_pool import run_real_pool

from poolctl.analysis.pool_model import End, EventReplay, Rules, Work, replay

# A task that returns and asks again without a pause is served before the woken waiter since this fast path exists.
BARGES = "self._queue.get_nowait()" in inspect.getsource(AsyncAdaptedQueue.get)

RULES = st.builds(
    Rules,
    pool_size=st.integers(1, 5),
    max_overflow=st.integers(-1, 5),
    pool_timeout_s=st.sampled_from([0.03, 0.2, 5.0]),
    pool_recycle_s=st.sampled_from([-1.0, 0.4]),
    lifo=st.booleans(),
)


@st.composite
def programs(draw: st.DrawFn) -> Work:
    """Instants come from a seeded generator: hypothesis chooses the shape, and no two instants ever tie."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 120))
    mean_hold = draw(st.sampled_from([0.02, 0.1]))
    gap = draw(st.sampled_from([0.005, 0.02, 0.06]))
    hold = random.exponential(mean_hold, count)
    fails = random.random(count) < draw(st.sampled_from([0.0, 0.15]))
    clients = draw(st.sampled_from([0, 3, 9]))
    following = think = None
    if clients:
        following = np.arange(count) + clients
        following[following >= count] = -1
        share_without_pause = draw(st.sampled_from([0.0, 0.5])) if BARGES else 0.0
        think = np.where(random.random(count) < share_without_pause, 0.0, random.exponential(0.05, count))
    return Work(
        requested_at_s=np.cumsum(random.exponential(gap, count)),
        hold_s=hold,
        connect_s=random.exponential(draw(st.sampled_from([0.001, 0.03])), count),
        close_s=draw(st.sampled_from([0.0, 0.011])),
        connect_fails=fails,
        next_request=following,
        think_s=think,
    )


@given(programs(), RULES)
@settings(max_examples=150, deadline=None)
def test_the_model_equals_the_real_async_pool_to_the_last_digit(work: Work, rules: Rules) -> None:
    real, model = run_real_pool(work, rules), EventReplay(work, rules).run()
    for name in ("requested_at_s", "acquired_at_s", "ended_at_s", "end", "opened"):
        np.testing.assert_array_equal(getattr(model, name), getattr(real, name), err_msg=name)
    assert model.peak_open == real.peak_open


@given(programs(), st.integers(1, 8), st.sampled_from([0.02, 0.3, 30.0]), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_the_lean_path_equals_the_full_path(work: Work, size: int, timeout: float, warm: int) -> None:
    plain = Work(work.requested_at_s, work.hold_s, work.connect_s)
    rules = Rules(size, 0, timeout)
    lean, full = replay(plain, rules, warm), EventReplay(plain, rules, warm).run()
    for name in ("granted_at_s", "acquired_at_s", "ended_at_s", "end", "opened"):
        np.testing.assert_array_equal(getattr(lean, name), getattr(full, name), err_msg=name)
    assert lean.peak_open == full.peak_open


def test_a_long_program_with_every_feature_agrees_too() -> None:
    random = np.random.default_rng(7)
    count = 5_000
    work = Work(
        np.cumsum(random.exponential(0.02, count)),
        random.exponential(0.1, count),
        random.exponential(0.01, count),
        0.004,
        connect_fails=random.random(count) < 0.02,
    )
    rules = Rules(2, 3, 0.3, 1.0)
    real, model = run_real_pool(work, rules), EventReplay(work, rules).run()
    np.testing.assert_array_equal(model.ended_at_s, real.ended_at_s)
    np.testing.assert_array_equal(model.end, real.end)
    assert set(model.end.tolist()) == set(End)


@pytest.mark.parametrize("pool_size", [0, 2])
def test_a_pool_without_a_limit_never_makes_anybody_wait(pool_size: int) -> None:
    at = np.linspace(0.001, 0.002, 50)
    work = Work(at, np.full(50, 1.0), np.full(50, 0.003))
    rules = Rules(pool_size, -1)
    real, model = run_real_pool(work, rules), replay(work, rules)
    assert not model.wait_s.any()
    assert model.peak_open == real.peak_open == 50
