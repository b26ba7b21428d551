"""Numbers -> rows of block characters. Knows nothing of pools."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

LEVELS = " ▁▂▃▄▅▆▇█"


def resample(values: Sequence[float], width: int, combine: Callable[[Iterable[float]], float] = max) -> list[float]:
    """Return at most `width` values: neighbours are combined, so that no peak is lost."""
    if len(values) <= width:
        return list(values)
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    return [combine(values[start:end]) for start, end in itertools.pairwise(edges)]


def stretch(values: Sequence[float], width: int) -> list[float]:
    """Return exactly `width` values: combined when there are more, repeated when there are fewer."""
    if not values:
        return [0.0] * width
    if len(values) >= width:
        return resample(values, width)
    return [values[i * len(values) // width] for i in range(width)]


def area(values: Sequence[float], top: float, height: int = 1) -> list[str]:
    """Return `height` rows, the highest first, in which a column is as high as its value; `top` fills it.

    A value above zero shows at least the lowest mark, so that a rare event is seen.
    """
    steps = 8 * height
    levels = [min(steps, math.ceil(steps * value / top - 1e-9)) if value > 0 and top > 0 else 0 for value in values]
    return ["".join(LEVELS[max(0, min(8, level - 8 * row))] for level in levels) for row in range(height - 1, -1, -1)]
