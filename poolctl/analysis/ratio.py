"""Ratio: head ÷ base with its interval, from numbers of whole runs, or from counts.

In: one logarithm a run and side, or hits and candidates. Out: `Estimate`. The unit of replication is the run: samples
within a run depend on each other, and tests on them raise false alarms in most identical comparisons of a busy pool.
Knows nothing of pools.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

POWER = 0.8
"""With which the smallest detectable effect would be seen."""
CERTAIN = 1e-12
"""A spread of logarithms below this is none: what was counted was the same in every run."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The spread of the differences between identical runs, from a calibration (A/A)."""

    spread: float
    """Standard deviation of ln(head ÷ base) of a pair on the same tape."""
    freedom: int
    """Degrees of freedom behind it: pairs − 1."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A log ratio with what is known of it."""

    log_ratio: float
    low: float | None = None
    """One-sided lower limit of the log ratio, at the level asked for; None: the spread is not known."""
    high: float | None = None
    p: float | None = None
    """Of the hypothesis that head is at most the margin worse."""
    mde: float | None = None
    """(t₁₋α + t_power) · standard error: the log ratio that would be seen with POWER."""

    def above(self, log_margin: float) -> bool:
        """Whether head is proven worse than the margin (at this one level)."""
        return self.low is not None and self.low > log_margin

    def below(self, log_margin: float) -> bool:
        """Whether head is proven not to be worse than the margin."""
        return self.high is not None and self.high < log_margin


def paired(base: Sequence[float], head: Sequence[float], alpha: float, margin: float, noise: Noise | None) -> Estimate:
    """Compare logarithms run by run on the same tape: d̄ ∓ t(k−1, 1−α)·s_d/√k.

    A single pair has no spread of its own: then that of the calibration counts, where there is one.
    """
    differences = np.subtract(head, base)
    count = len(differences)
    mean = float(differences.mean())
    if count >= 2:
        return _estimate(mean, float(differences.std(ddof=1)) / math.sqrt(count), count - 1, alpha, margin)
    return Estimate(mean) if noise is None else _estimate(mean, noise.spread, noise.freedom, alpha, margin)


def unpaired(base: Sequence[float], head: Sequence[float], alpha: float, margin: float) -> Estimate:
    """Compare logarithms of runs that share nothing: pooled variance, so that one run on a side is held to the other's.

    With one run in head this is the prediction limit ȳ + t(k−1, 1−α)·s·√(1 + 1/k) of the base.
    """
    mean = float(np.mean(head) - np.mean(base))
    freedom = len(base) + len(head) - 2
    if freedom < 1:
        return Estimate(mean)
    squares = sum(float(((np.asarray(side) - np.mean(side)) ** 2).sum()) for side in (base, head))
    error = math.sqrt(squares / freedom * (1 / len(base) + 1 / len(head)))
    return _estimate(mean, error, freedom, alpha, margin)


def within(base: tuple[float, float], head: tuple[float, float], alpha: float, margin: float) -> Estimate:
    """Compare two single runs by (logarithm, standard error within the run). For what no queue correlates only."""
    return _estimate(head[0] - base[0], math.hypot(base[1], head[1]), 1_000_000, alpha, margin)


def _estimate(mean: float, error: float, freedom: int, alpha: float, margin: float) -> Estimate:
    from scipy.special import stdtr, stdtrit

    beyond = mean - math.log1p(margin)
    if error < CERTAIN:
        return Estimate(mean, mean, mean, 0.0 if beyond > CERTAIN else 1.0, 0.0)
    point = float(stdtrit(freedom, 1 - alpha))
    mde = (point + float(stdtrit(freedom, POWER))) * error
    p = 1 - float(stdtr(freedom, beyond / error))
    return Estimate(mean, mean - point * error, mean + point * error, p, mde)


def rates(base: tuple[float, float], head: tuple[float, float], alpha: float, margin: float) -> Estimate | None:
    """Compare (hits, candidates) by the exact conditional binomial test; both may be fractional (effective sizes).

    Given all hits, head's share of them is binomial with the share of its candidates, weighted by the ratio of the
    rates. None without any hit.
    """
    from scipy.special import betainc, betaincinv

    (x, n), (y, m) = base, head
    if x + y <= 0 or n <= 0 or m <= 0:
        return None
    low = float(betaincinv(y, x + 1, alpha)) if y > 0 else 0.0
    high = float(betaincinv(y + 1, x, 1 - alpha)) if x > 0 else 1.0
    expected = (1 + margin) * m / (n + (1 + margin) * m)
    p = float(betainc(y, x + 1, expected)) if y > 0 else 1.0
    middle = _odds(y / (x + y), n / m)
    return Estimate(middle, _odds(low, n / m), _odds(high, n / m), p)


def _odds(share: float, weight: float) -> float:
    """The log ratio of the rates at which head has this share of the hits."""
    if share <= 0:
        return -math.inf
    return math.inf if share >= 1 else math.log(share / (1 - share) * weight)


def holm(values: Sequence[float | None], alpha: float) -> list[bool]:
    """Return which hypotheses fall when the whole family may err with `alpha` (Holm 1979). None never falls."""
    known = sorted((value, index) for index, value in enumerate(values) if value is not None)
    fallen = [False] * len(values)
    for rank, (value, index) in enumerate(known):
        if value > alpha / (len(known) - rank):
            break
        fallen[index] = True
    return fallen


def runs_needed(spread: float, margin: float, alpha: float) -> int:
    """Return how many pairs make an effect of `margin` detectable with POWER, given the spread of the differences."""
    from scipy.special import stdtrit

    for count in range(2, 1000):
        points = float(stdtrit(count - 1, 1 - alpha)) + float(stdtrit(count - 1, POWER))
        if points * spread / math.sqrt(count) <= math.log1p(margin):
            return count
    return 1000


def detectable(spread: float, count: int, alpha: float) -> float:
    """Return the smallest relative effect that `count` pairs with this spread show with POWER."""
    from scipy.special import stdtrit

    points = float(stdtrit(count - 1, 1 - alpha)) + float(stdtrit(count - 1, POWER))
    return math.expm1(points * spread / math.sqrt(count))
