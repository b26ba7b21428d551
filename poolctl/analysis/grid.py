"""Grid: which sizes and overflows are predicted, besides the recommended one.

In: a case, the recommendation, what a person asked for. Out: predictions, in the order of the sizes. Decides nothing.
"""

from __future__ import annotations

import math

from poolctl.analysis.case import Case
from poolctl.analysis.predict import predict
from poolctl.analysis.search import Progress
from poolctl.trace.report import PoolSettings, Prediction

LADDER = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 65, 80, 100, 150, 200, 300, 500)
BOOTSTRAP = 0.6
"""The share of the work that the resamples before are."""


def predicted(case: Case, chosen: PoolSettings, size: int, progress: Progress | None = None) -> list[Prediction]:
    """Predict a ladder of sizes around the chosen one, today's settings, the recommendation itself, and what was asked
    for."""
    pairs = sorted(_wanted(case, chosen, size))
    made = []
    for number, pair in enumerate(pairs):
        made.append(predict(case.search, case.demands, *pair))
        if progress is not None:
            progress(BOOTSTRAP + (1 - BOOTSTRAP) * (number + 1) / len(pairs))
    return made


def _wanted(case: Case, chosen: PoolSettings, size: int) -> set[tuple[int, int]]:
    today = (case.settings.pool_size or 0, case.settings.max_overflow or 0)
    ladder = {step for step in LADDER if step <= max(1.6 * size, size + 2)}
    near = {step for step in range(size - 2, size + 3) if step >= 1}
    wanted = {(step, 0) for step in ladder | near}
    beside = {(step, chosen.max_overflow or 0) for step in range(size - 1, size + 2) if step >= 1}
    wanted |= beside  # what --verify runs
    if today[0] > 0 and today[1] >= 0:
        wanted.add(today)
    wishes = case.wishes
    overflows = wishes.overflows
    if wishes.grid and not overflows:
        overflows = (0, max(chosen.max_overflow or 0, math.ceil(size / 4)), math.ceil(size / 2))
    if overflows or wishes.sizes:
        sizes = wishes.sizes or tuple(step for step in ladder | {size} if step >= size / 4)
        wanted |= {(step, overflow) for step in sizes for overflow in overflows or (0,)}
    return wanted
