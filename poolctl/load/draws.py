"""Draws: what a transaction's parameter may be, as a distribution.

In: numbers between 0 and 1 from the tape. Out: one value for each. A value uses exactly one number, through the inverse
of its distribution, so that a shorter tape is the beginning of a longer one. Knows nothing of seeds.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from poolctl.errors import UsageError
from poolctl.units import parse_duration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Uniforms = NDArray[np.float64]


DIGITS = 9
"""Decimals of a drawn number: nanoseconds. More would differ between machines: so do the last bits of logarithms."""


class Draw(ABC):
    """A distribution of one parameter."""

    @abstractmethod
    def values(self, uniforms: Uniforms) -> list[Any]:
        """Return one value for each number in [0, 1)."""


@dataclass(frozen=True, slots=True)
class Constant(Draw):
    """Always the same value: what a parameter that is no Draw becomes."""

    value: Any

    def values(self, uniforms: Uniforms) -> list[Any]:
        """Return it, over and over."""
        return [self.value] * len(uniforms)


@dataclass(frozen=True, slots=True)
class Uniform(Draw):
    """See `uniform`."""

    low: float
    high: float

    def values(self, uniforms: Uniforms) -> list[Any]:
        """Map [0, 1) onto [low, high)."""
        return _rounded(self.low + (self.high - self.low) * uniforms)


@dataclass(frozen=True, slots=True)
class Integers(Draw):
    """See `integers`."""

    low: int
    high: int

    def values(self, uniforms: Uniforms) -> list[Any]:
        """Map [0, 1) onto low, …, high."""
        drawn: list[Any] = (self.low + (uniforms * (self.high - self.low + 1)).astype("int64")).tolist()
        return drawn


@dataclass(frozen=True, slots=True)
class Exponential(Draw):
    """See `exponential`."""

    mean: float

    def values(self, uniforms: Uniforms) -> list[Any]:
        """−mean · ln(1 − u)."""
        import numpy as np

        return _rounded(-self.mean * np.log1p(-uniforms))


@dataclass(frozen=True, slots=True)
class LogNormal(Draw):
    """See `lognormal`."""

    median: float
    sigma: float

    def values(self, uniforms: Uniforms) -> list[Any]:
        """Median · exp(σ · Φ⁻¹(u)); u = 0 has no inverse and counts as the smallest step above it."""
        normal = NormalDist().inv_cdf
        return [round(self.median * math.exp(self.sigma * normal(max(u, 2.0**-53))), DIGITS) for u in uniforms.tolist()]


@dataclass(frozen=True, slots=True)
class Choice(Draw):
    """See `choice`."""

    options: tuple[Any, ...]
    weights: tuple[float, ...]

    def values(self, uniforms: Uniforms) -> list[Any]:
        """Look each number up in the cumulated weights."""
        return [self.options[i] for i in _lookup(self.weights, uniforms)]


@dataclass(frozen=True, slots=True)
class Zipf(Draw):
    """See `zipf`."""

    count: int
    exponent: float

    def values(self, uniforms: Uniforms) -> list[Any]:
        """Look each number up in the cumulated 1 / rank^exponent."""
        import numpy as np

        weights = np.arange(1, self.count + 1, dtype=np.float64) ** -self.exponent
        return [i + 1 for i in _lookup(weights, uniforms)]


def uniform(low: float | str, high: float | str) -> Draw:
    """Draw numbers between `low` and `high`, evenly; durations may be text, as in `uniform("10ms", "30ms")`."""
    bottom, top = _number(low, "uniform(low)"), _number(high, "uniform(high)")
    _require(bottom <= top, f"uniform({low}, {high}): low is above high")
    return Uniform(bottom, top)


def integers(low: int, high: int) -> Draw:
    """Draw whole numbers from `low` to `high`, both included: a key of a table."""
    _require(low <= high, f"integers({low}, {high}): low is above high")
    return Integers(low, high)


def exponential(mean: float | str) -> Draw:
    """Draw durations with this mean (seconds, or text as in "60ms"), most short and a few long."""
    seconds = _number(mean, "exponential(mean)")
    _require(seconds >= 0, f"exponential({mean}): must be 0 or more")
    return Exponential(seconds)


def lognormal(median: float | str, sigma: float) -> Draw:
    """Draw durations around `median` (seconds, or text); `sigma` 0.3 is narrow, 1 wide: mean = median · exp(σ²/2)."""
    seconds = _number(median, "lognormal(median)")
    _require(seconds > 0 and sigma >= 0, f"lognormal({median}, {sigma}): the median must be above 0, sigma 0 or more")
    return LogNormal(seconds, sigma)


def choice(*options: Any, weights: tuple[float, ...] | None = None) -> Draw:
    """Draw one of `options`, evenly or by `weights`."""
    _require(bool(options), "choice(): give at least one option")
    shares = weights or (1.0,) * len(options)
    _require(len(shares) == len(options), f"choice(): {len(options)} options, {len(shares)} weights")
    _require(min(shares) >= 0 and sum(shares) > 0, "choice(): weights must be 0 or more, and not all 0")
    return Choice(options, tuple(float(share) for share in shares))


def zipf(count: int, exponent: float = 1.0) -> Draw:
    """Draw whole numbers from 1 to `count`, the low ones far more often: what is popular in a shop."""
    _require(count >= 1, f"zipf({count}): give 1 or more")
    return Zipf(count, exponent)


def _lookup(weights: Any, uniforms: Uniforms) -> list[int]:
    import numpy as np

    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    found: list[int] = np.searchsorted(edges, uniforms * edges[-1], side="right").clip(max=len(edges) - 1).tolist()
    return found


def _rounded(values: Uniforms) -> list[Any]:
    drawn: list[Any] = values.round(DIGITS).tolist()
    return drawn


def _number(value: float | str, what: str) -> float:
    return parse_duration(value, what) if isinstance(value, str) else float(value)


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise UsageError(message, "correct it in the scenario")
