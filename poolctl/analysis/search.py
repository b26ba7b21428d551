"""Search: the smallest pool that meets its goals, and how sure that size is.

In: demands, an engine (what runs them through pools of a size), goals. Out: sizes. Knows nothing of where the demand
comes from, nor which model the engine is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from poolctl.analysis.demand import Demand, cut, grow
from poolctl.analysis.goals import Goal, all_met
from poolctl.analysis.pool_rules import Outcome, Rules

Engine = Callable[[Sequence[Demand], Rules], list[Outcome]]
"""Runs every process's demand through a pool with these rules; one outcome a process."""
Progress = Callable[[float], None]
"""Told the share of the work that is done, 0 to 1."""

HEADROOM = 1.3
"""Arrivals are multiplied by this before the size is fixed."""
RESAMPLES = 100
BUDGET = 12_000_000
"""Requests that the bootstrap may replay altogether: a few seconds."""


@dataclass(frozen=True)
class Search:
    """What every search of one recommendation shares."""

    engine: Engine
    goals: list[Goal]
    rules: Rules
    """Timeout, recycle and the like; the sizes are replaced."""

    def at(self, demands: Sequence[Demand], size: int, overflow: int = 0) -> list[Outcome]:
        """Run the demands at this size."""
        return self.engine(demands, sized(self.rules, size, overflow))

    def meets(self, demands: Sequence[Demand], size: int) -> bool:
        """Whether the goals hold at this size without overflow."""
        return all_met(self.goals, self.at(demands, size))

    def smallest(self, demands: Sequence[Demand], most: int, guess: int | None = None) -> int | None:
        """Return the fewest connections a process needs, or None when even `most` are not enough.

        Bisects, from `guess` outwards where there is one: with overflow off, fewer connections are never better
        until the database itself is the bottleneck, and then the larger sizes are judged separately.
        """
        low, high = 0, most
        if guess is not None and 1 <= guess < most:
            step = 1
            if self.meets(demands, guess):
                high = guess
                while high - step > 0 and self.meets(demands, high - step):
                    high, step = high - step, step * 2
                low = max(high - step, 0)
            else:
                low = guess
                while low + step < most and not self.meets(demands, low + step):
                    low, step = low + step, step * 2
                high = min(low + step, most)
        if high == most and not self.meets(demands, most):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.meets(demands, middle) else (middle, high)
        return high


def sized(rules: Rules, size: int, overflow: int) -> Rules:
    """Return the rules with another size."""
    return Rules(size, overflow, rules.pool_timeout_s, rules.pool_recycle_s, rules.lifo, rules.wake_s)


def peak_demand(demands: Sequence[Demand]) -> int:
    """Return the most connections any process would use at once if nobody ever waited: more are never needed."""
    peak = 1
    for demand in demands:
        work = demand.work()
        ends = np.sort(work.requested_at_s + work.hold_s + work.connect_s)
        busy = np.arange(1, len(ends) + 1) - np.searchsorted(ends, work.requested_at_s, side="left")
        peak = max(peak, int(busy.max(initial=1)))
    return peak


def with_headroom(search: Search, demands: Sequence[Demand], guess: int, seed: int) -> int | None:
    """Return the size for HEADROOM × the arrivals: the middle of three draws, one where the trace is long."""
    draws = 3 if sum(len(demand.at_s) for demand in demands) < 200_000 else 1
    found = []
    for draw in range(draws):
        random = np.random.default_rng([seed, draw, 13])
        grown = [grow(demand, HEADROOM, random) for demand in demands]
        size = search.smallest(grown, peak_demand(grown), guess)
        found.append(math.inf if size is None else size)
    middle = sorted(found)[draws // 2]
    return None if math.isinf(middle) else int(middle)


def block_bootstrap(
    search: Search, demands: Sequence[Demand], block_s: float, guess: int, seed: int, progress: Progress | None = None
) -> list[int]:
    """Return the size that each resample of the trace asks for, sorted.

    A resample is the trace put together anew from windows of `block_s` drawn with replacement, the same windows in
    every process; a lease-by-lease bootstrap would destroy the bursts (its 90 % interval covered nothing in the
    notes). Where the trace is long, resamples are shorter than it: a wider interval, never a narrower one.
    """
    first = min((float(demand.at_s[0]) for demand in demands if len(demand.at_s)), default=0.0)
    last = max((float(demand.at_s[-1]) for demand in demands if len(demand.at_s)), default=0.0)
    span = last - first
    requests = sum(len(demand.at_s) for demand in demands)
    if span <= 0 or requests == 0:
        return []
    block = min(max(block_s, span / 200), span)
    share = min(1.0, BUDGET / (RESAMPLES * 3.5 * requests))
    blocks = max(math.ceil(span * share / block), 1)
    random = np.random.default_rng([seed, 29])
    sizes = []
    for draw in range(RESAMPLES):
        starts = random.uniform(first, max(last - block, first), blocks)
        windows = [(float(start), float(start) + block, position * block) for position, start in enumerate(starts)]
        resampled = [cut(demand, windows) for demand in demands]
        most = peak_demand(resampled)
        sizes.append(search.smallest(resampled, most, min(guess, most)) or most + 1)
        if progress is not None:
            progress((draw + 1) / RESAMPLES)
    return sorted(sizes)
