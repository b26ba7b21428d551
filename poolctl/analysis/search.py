"""Search: the smallest pool that meets its goals, and how sure that size is.

In: demands, an engine (what runs them through pools of a size), goals. Out: sizes. Knows nothing of where the demand
comes from, nor which model the engine is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from poolctl.analysis.demand import Demand
from poolctl.analysis.goals import Goal, all_met, pooled, quantile
from poolctl.analysis.growth import cut, grow
from poolctl.analysis.pool_rules import Outcome, Rules

Engine = Callable[[Sequence[Demand], Rules], list[Outcome]]
"""Runs every process's demand through a pool with these rules; one outcome a process."""
Progress = Callable[[float], None]
"""Told the share of the work that is done, 0 to 1."""

HEADROOM = 1.3
"""Arrivals are multiplied by this before the size is fixed."""
RESAMPLES = 60
BUDGET = 8_000_000
"""Requests that the bootstrap may replay altogether with constant holds: a few seconds."""
MOST = 2_000
"""Connections per process beyond which no size is looked for."""


@dataclass(frozen=True)
class Search:
    """What every search of one recommendation shares."""

    engine: Engine
    goals: list[Goal]
    rules: Rules
    """Timeout, recycle and the like; the sizes are replaced."""
    cost: float = 1.0
    """Work of one replay, against constant holds."""
    most: int = MOST
    """Connections per process beyond which no size is looked for."""
    margin: float = 0.0
    """Times have to keep to their limits also when they are longer by this share."""

    def at(self, demands: Sequence[Demand], size: int, overflow: int = 0) -> list[Outcome]:
        """Run the demands at this size."""
        return self.engine(demands, sized(self.rules, size, overflow))

    def meets(self, demands: Sequence[Demand], size: int) -> bool:
        """Whether the goals hold at this size without overflow."""
        return all_met(self.goals, self.at(demands, size), self.margin)

    def smallest(self, demands: Sequence[Demand], guess: int = 8) -> int | None:
        """Return the fewest connections a process needs; None when even `most` are not enough.

        Goes from `guess` outwards in doubling steps and then halves: without overflow fewer connections never wait
        less. (That more of them may slow the database is another question: see `sizing`.)
        """
        most = self.most
        size, step = max(1, min(guess, most)), 1
        if self.meets(demands, size):
            good, bad = size, 0
            while good > 1 and bad == 0:
                probe = max(good - step, 1)
                good, bad, step = (probe, 0, 2 * step) if self.meets(demands, probe) else (good, probe, step)
        else:
            good, bad = most + 1, size
            while good > most:
                if bad == most:
                    return None
                probe = min(bad + step, most)
                good, bad, step = (probe, bad, step) if self.meets(demands, probe) else (good, probe, 2 * step)
        while good - bad > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self.meets(demands, middle) else (good, middle)
        return good


def sized(rules: Rules, size: int, overflow: int) -> Rules:
    """Return the rules with another size."""
    return Rules(size, overflow, rules.pool_timeout_s, rules.pool_recycle_s, rules.lifo, rules.wake_s)


def helpful(search: Search, demands: Sequence[Demand]) -> int:
    """Return the size beyond which the queue only moves from the pool into the database; MOST where it does not.

    The smallest size whose p95 of wait + hold is within a quarter of the best at any size, if larger ones make holds
    grow instead. Tried without timeouts, so that lost requests do not pass for fast ones.
    """
    patient = replace(search, rules=replace(search.rules, pool_timeout_s=1e9))
    response: dict[int, float] = {}
    hold: dict[int, float] = {}
    for size in _ladder():
        outcomes = patient.at(demands, size)
        response[size] = quantile(pooled([outcome.ended_at_s - outcome.requested_at_s for outcome in outcomes]), 0.95)
        hold[size] = float(np.mean(pooled([outcome.ended_at_s - outcome.acquired_at_s for outcome in outcomes])))
        waits = any(outcome.wait_s.any() for outcome in outcomes)
        if not waits or response[size] > 1.25 * min(response.values()):
            break
    enough = min(size for size, value in response.items() if value <= 1.25 * min(response.values()))
    return enough if max(hold.values()) > 1.2 * hold[enough] else MOST


def _ladder() -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 11, 16, …: steps of the square root of two."""
    size = 1
    while size <= MOST:
        yield size
        size = max(size + 1, round(size * math.sqrt(2)))


def with_headroom(
    search: Search, demands: Sequence[Demand], guess: int, seed: int, factor: float = HEADROOM
) -> int | None:
    """Return the size for `factor` × the arrivals: the middle of three draws, one where the trace is long."""
    draws = 3 if search.cost * sum(len(demand.at_s) for demand in demands) < 200_000 else 1
    found = []
    for draw in range(draws):
        random = np.random.default_rng([seed, draw, 13])
        size = search.smallest([grow(demand, factor, random) for demand in demands], guess)
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
    share = min(1.0, BUDGET / (RESAMPLES * 3.5 * search.cost * requests))
    blocks = max(math.ceil(span * share / block), 1)
    random = np.random.default_rng([seed, 29])
    sizes = []
    for draw in range(RESAMPLES):
        starts = random.uniform(first, max(last - block, first), blocks)
        windows = [(float(start), float(start) + block, position * block) for position, start in enumerate(starts)]
        sizes.append(search.smallest([cut(demand, windows) for demand in demands], guess) or search.most)
        if progress is not None:
            progress((draw + 1) / RESAMPLES)
    return sorted(sizes)
