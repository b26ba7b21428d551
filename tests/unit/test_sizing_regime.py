"""How long is long enough: time scales of known traffic."""

from __future__ import annotations

import numpy as np
import pytest
from sizing_cases import bursts, poisson

from poolctl.analysis.regime import dispersion, judge, time_scale


def test_poisson_counts_vary_as_their_mean_on_every_scale() -> None:
    at = poisson(50, 600, 1)
    for window in (0.5, 2.0, 10.0):
        assert dispersion(at, window) == pytest.approx(1.0, abs=0.35)
    scale, settled, _ = time_scale(at)
    assert settled
    assert scale < 1.0


def test_a_regular_clock_varies_less_than_poisson() -> None:
    assert dispersion(np.arange(0, 100, 0.01), 1.0) < 0.1


def test_bursts_correlate_over_their_length() -> None:
    at = bursts(600, 2)
    scale, settled, index = time_scale(at)
    assert settled
    assert 0.7 < scale < 6.5
    assert index > 10


def test_a_run_shorter_than_its_bursts_need_says_so() -> None:
    short = judge(bursts(30, 3), [5, 5, 5, 5], 30.0)
    assert not short.enough
    assert "burst" in short.reasons[0]
    assert judge(bursts(600, 3), [5, 5, 5, 5], 600.0).enough


def test_quarters_that_ask_for_different_sizes_are_a_reason() -> None:
    at = poisson(50, 600, 4)
    assert judge(at, [5, 5, 6, 5], 600.0).enough
    apart = judge(at, [5, 5, 8, 5], 600.0)
    assert not apart.enough
    assert "5, 5, 8, 5" in apart.reasons[0]


def test_a_handful_of_arrivals_speaks_for_nothing() -> None:
    assert not judge(np.arange(10.0), [], 10.0).enough
