"""Statistics that do not claim more than the sample supports.

In: arrays of values in the order in which they were made, counts. Out: `Dist`, intervals, bounds. Knows nothing of
pools.

A quantile is the smallest sample that at least the share `q` of all samples does not exceed (the inverse of the
empirical distribution; no interpolation, so it is always a value that was measured). It is given only from as many
samples as would, if independent, hold a 95 % bound of it: n ≥ ln 0.05 / ln q, which is 59 for the p95, 299 for the p99
and 2,995 for the p99.9.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from poolctl.trace.report import Dist

Floats = npt.NDArray[np.float64]

Z95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""
BATCHES = 20
"""Batches of which the variance of a mean is estimated where the sample is long enough."""


def needed(q: float) -> int:
    """Return how many independent samples support the quantile `q`: a one-sided 95 % bound exists from there on."""
    return math.ceil(math.log(0.05) / math.log(q))


def quantile(ordered: Floats, q: float) -> float | None:
    """Return the quantile `q` of values sorted upwards, or None where there are too few."""
    count = len(ordered)
    return float(ordered[_rank(count, q) - 1]) if count >= needed(q) else None


def dist(values: npt.ArrayLike) -> Dist:
    """Summarise values, given in the order in which they were made (for the interval); NaN means "has none"."""
    made = np.asarray(values, dtype=np.float64)
    made = made[~np.isnan(made)]
    if not len(made):
        return Dist(0)
    ordered = np.sort(made)
    p50, p90, p95, p99 = (quantile(ordered, q) for q in (0.50, 0.90, 0.95, 0.99))
    return Dist(
        count=len(made),
        mean=float(made.mean()),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        max=float(ordered[-1]),
        ci95_p95=quantile_interval(made, 0.95, ordered),
    )


def quantile_interval(made: Floats, q: float, ordered: Floats | None = None) -> tuple[float, float] | None:
    """Return the 95 % interval of a quantile of values in the order in which they were made, or None.

    Ranks n·q ± z·√(n·q·(1−q)·τ), where τ is how many times more the share of values up to the quantile varies
    between batches than it would if they were independent. None where a rank falls outside the sample.
    """
    count = len(made)
    if count < needed(q):
        return None
    ordered = np.sort(made) if ordered is None else ordered
    spread = Z95 * math.sqrt(count * q * (1 - q) * inflation(made <= ordered[_rank(count, q) - 1]))
    low, high = math.floor(count * q - spread), math.ceil(count * q + spread) + 1
    if low < 1 or high > count:
        return None
    return float(ordered[low - 1]), float(ordered[high - 1])


def inflation(made: npt.ArrayLike) -> float:
    """Return τ = b·Var(batch means) / Var(values), at least 1: the samples that are worth one independent one.

    The batches have ⌊√n⌋ values, or a twentieth of the sample where that says more: slow swings (bursts) need long
    batches, and a few long ones alone are too noisy.
    """
    values = np.asarray(made, dtype=np.float64)
    variance = float(values.var())
    if len(values) < 2 * BATCHES or variance == 0.0:
        return 1.0
    found = 1.0
    for size in {math.isqrt(len(values)), len(values) // BATCHES}:
        whole = len(values) // size * size
        means = values[:whole].reshape(-1, size).mean(axis=1)
        found = max(found, size * float(means.var(ddof=1)) / variance)
    return found


def mean_interval(made: Floats) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean, from the spread of batch means (Student, batches − 1)."""
    from scipy.special import stdtrit

    if len(made) < 2 * BATCHES:
        return None
    size = len(made) // BATCHES
    means = made[: size * BATCHES].reshape(BATCHES, size).mean(axis=1)
    half = float(stdtrit(BATCHES - 1, 0.975)) * float(means.std(ddof=1)) / math.sqrt(BATCHES)
    mean = float(made.mean())
    return mean - half, mean + half


def share_interval(hits: float, count: float) -> tuple[float, float]:
    """Return the exact (Clopper–Pearson) 95 % interval of a share; one-sided where nothing or everything hit.

    So no hit in n says at most about 3/n. Both may be fractions: an effective sample size.
    """
    from scipy.special import betaincinv

    if count <= 0:
        return 0.0, 1.0
    if hits <= 0:
        return 0.0, 1.0 - 0.05 ** (1 / count)
    if hits >= count:
        return 0.05 ** (1 / count), 1.0
    low, high = betaincinv(hits, count - hits + 1, 0.025), betaincinv(hits + 1, count - hits, 0.975)
    return float(low), float(high)


def count_interval(hits: int) -> tuple[float, float]:
    """Return the exact (Garwood) 95 % interval of the expectation of a Poisson count; one-sided for zero."""
    from scipy.special import gammaincinv

    if hits == 0:
        return 0.0, -math.log(0.05)
    return float(gammaincinv(hits, 0.025)), float(gammaincinv(hits + 1, 0.975))


def warm_up(made: npt.ArrayLike) -> int | None:
    """Return how many of the first values to leave out as warm-up (MSER-5), or None where the rest does not settle.

    White 1997: of means of five, drop the first d that minimise Σ(Z − Z̄)² / (m − d)² over what remains. A minimum in
    the second half is no minimum. For steady load only: bursts are a transient, not a warm-up.
    """
    values = np.asarray(made, dtype=np.float64)
    groups = len(values) // 5
    if groups < 4:
        return None
    means = values[: groups * 5].reshape(groups, 5).mean(axis=1)
    left = np.arange(groups, 0, -1, dtype=np.float64)
    total, squares = np.cumsum(means[::-1])[::-1], np.cumsum((means**2)[::-1])[::-1]
    score = np.maximum(squares - total**2 / left, 0.0)[: groups - 1] / left[: groups - 1] ** 2
    best = int(np.argmin(score))
    return None if best > groups / 2 else best * 5


def littles_law(starts: Floats, ends: Floats, length: float) -> tuple[float, float]:
    """Return (L, λ·W) over [0, length]: the mean number present, and the rate of those that left times their mean stay.

    Instants in the unit of `length`; an end of NaN has not come.
    """
    if length <= 0 or not len(starts):
        return 0.0, 0.0
    until = np.where(np.isnan(ends), length, ends)
    present = np.clip(until, 0.0, length) - np.clip(starts, 0.0, length)
    left = (ends > 0) & (ends <= length)
    stays = (ends - starts)[left]
    return float(present.sum() / length), float(stays.sum() / length)


def _rank(count: int, q: float) -> int:
    """The rank, from 1, of the quantile. The product is rounded first: 0.95 × 100 must be 95, not 95.00000000000001."""
    return max(1, math.ceil(round(count * q, 9)))
