"""The pool model against queueing theory, and theory against its published tables. Seeds are fixed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from poolctl.analysis.pool_model import Outcome, Rules, Work, replay
from poolctl.analysis.theory import (
    erlang_c,
    erlang_c_size,
    mdc_mean_wait,
    mmc_mean_wait,
    mmc_patience,
    mmc_wait_quantile,
    patience_exponential,
    patience_fixed,
    square_root_staffing,
)

HOLD = 0.1
COUNT = 1_500_000


def simulate(servers: int, offered: float, timeout_s: float = 1e9, exponential: bool = True) -> Outcome:
    random = np.random.default_rng(40 + servers)
    gaps, hold = random.exponential(1.0, COUNT), random.exponential(1.0, COUNT)
    # Exact means: what is left of the sampling noise is small against the tolerances.
    at, hold = np.cumsum(gaps / gaps.mean()) * HOLD / offered, hold / hold.mean() * HOLD
    if not exponential:
        hold = np.full(COUNT, HOLD)
    return replay(Work(at, hold, np.zeros(COUNT)), Rules(servers, 0, timeout_s))


def test_erlang_c_gives_the_textbook_values() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(10, 8.0) == pytest.approx(0.4092, abs=5e-5)
    assert erlang_c(3, 3.0) == 1.0


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (2, 0.85), (5, 0.7), (5, 0.85), (20, 0.85)])
def test_exponential_holds_wait_as_in_mmc(servers: int, load: float) -> None:
    offered = servers * load
    wait = simulate(servers, offered).wait_s
    assert float(np.mean(wait > 0)) == pytest.approx(erlang_c(servers, offered), rel=0.02)
    assert float(wait.mean()) == pytest.approx(mmc_mean_wait(servers, offered, HOLD), rel=0.05)
    assert float(np.quantile(wait, 0.95)) == pytest.approx(mmc_wait_quantile(servers, offered, HOLD, 0.95), rel=0.05)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.8), (5, 0.85), (10, 0.9)])
def test_constant_holds_wait_as_in_mdc(servers: int, load: float) -> None:
    wait = simulate(servers, servers * load, exponential=False).wait_s
    assert float(wait.mean()) == pytest.approx(mdc_mean_wait(servers, servers * load, HOLD), rel=0.03)


def test_mdc_with_one_server_is_half_the_mm1_wait() -> None:
    assert mdc_mean_wait(1, 0.8, HOLD) == pytest.approx(mmc_mean_wait(1, 0.8, HOLD) / 2, rel=1e-6)


@pytest.mark.parametrize(("load", "timeout"), [(0.9, 0.05), (1.0, 0.1), (1.2, 0.1), (1.5, 0.1)])
def test_pool_timeout_loses_requests_as_in_mmc_with_fixed_patience(load: float, timeout: float) -> None:
    outcome = simulate(10, 10 * load, timeout)
    gives_up, mean_wait = mmc_patience(10, 10 * load / HOLD, HOLD, patience_fixed(timeout))
    assert outcome.timeout_rate == pytest.approx(gives_up, rel=0.03)
    assert float(outcome.wait_s.mean()) == pytest.approx(mean_wait, rel=0.03)


def test_exponential_patience_is_erlang_a() -> None:
    """With patience as long as the hold, Erlang A is M/M/infinity cut at c: its abandonment is known in closed form."""
    offered = 12.0
    gives_up, mean_wait = mmc_patience(10, offered / HOLD, HOLD, patience_exponential(HOLD))
    chance = [math.exp(-offered) * offered**k / math.factorial(k) for k in range(80)]
    queue = sum((k - 10) * p for k, p in enumerate(chance) if k > 10)
    assert mean_wait == pytest.approx(queue * HOLD / offered, rel=1e-3)
    assert gives_up == pytest.approx(queue / offered, rel=1e-3)


def test_the_rules_of_thumb_size_as_their_formulas_say() -> None:
    assert square_root_staffing(16.0) == 20
    size = erlang_c_size(8.0, HOLD, 0.95, 0.05)
    assert mmc_wait_quantile(size, 8.0, HOLD, 0.95) < 0.05 <= mmc_wait_quantile(size - 1, 8.0, HOLD, 0.95)
