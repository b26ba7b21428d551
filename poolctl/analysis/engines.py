"""Engines: the two models of a run's demand, and which of them the run calls for.

In: the demand and, where the run has statements, its structure. Out: what runs demands through pools of any size.
Constant holds where nothing in the run or in the prediction makes holds depend on concurrency; else the database
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from poolctl.analysis.database_lean import replay_lean
from poolctl.analysis.database_model import DatabaseReplay, split
from poolctl.analysis.demand import Demand, Recorded
from poolctl.analysis.growth import cut
from poolctl.analysis.pool_events import EventReplay
from poolctl.analysis.pool_model import replay
from poolctl.analysis.pool_rules import Floats, Ints, Outcome, Rules, Work
from poolctl.analysis.search import Engine
from poolctl.analysis.structure import Structure, fit

SAMPLE = 20_000
"""Requests on which it is tried whether holds depend on concurrency."""
SAME = 0.02
"""Mean holds that differ less than this between the run's size and an ample one do not depend on concurrency."""


def constant(demands: Sequence[Demand], rules: Rules) -> list[Outcome]:
    """Run each process's demand with every lease holding as long as it did in the run."""
    return [
        replay(demand.work, rules, demand.warm)
        if demand.work.next_request is None
        else EventReplay(demand.work, rules, demand.warm).run()
        for demand in demands
    ]


@dataclass(frozen=True)
class Structural:
    """The engine in which the database answers back; all processes share it."""

    structure: Structure
    slower: float = 1.0
    """All SQL work × this."""

    def __call__(self, demands: Sequence[Demand], rules: Rules) -> list[Outcome]:
        """Run every process's demand through a pool of its own, with one database behind them."""
        work, mark, pool_of = merged(demands, self.structure.connect_work_s)
        programs, database = self.structure.scaled(self.slower)
        warm = [demand.warm for demand in demands]
        plain = rules.max_overflow == 0 and rules.pool_size > 0 and rules.pool_recycle_s < 0 and rules.wake_s == 0
        if plain and work.next_request is None:
            outcome, peaks = replay_lean(work, rules, programs, mark, database, warm, pool_of)
            return split(outcome, pool_of, peaks)
        replay = DatabaseReplay(work, rules, programs, mark, database, warm, pool_of.tolist())
        outcome = replay.run()
        return split(outcome, pool_of, [pool.peak for pool in replay.pools])


def merged(demands: Sequence[Demand], connects: Floats) -> tuple[Work, Ints, Ints]:
    """Return one work for all processes in order of time, the mark of each request, and its pool."""
    at = np.concatenate([demand.at_s for demand in demands])
    order = np.argsort(at, kind="stable")
    mark = np.concatenate([demand.mark for demand in demands])[order]
    pool_of = np.repeat(np.arange(len(demands)), [len(demand.at_s) for demand in demands])[order]
    drawn = np.random.default_rng(0).choice(connects, len(at))
    works = [demand.work for demand in demands]
    following = think = None
    if all(work.next_request is not None for work in works):
        place = np.empty(len(at), dtype=np.int64)
        place[order] = np.arange(len(at))
        offsets = np.cumsum([0, *(len(demand.at_s) for demand in demands)])[:-1]
        chains = [np.where(w.next_request < 0, -1, w.next_request + o) for w, o in zip(works, offsets, strict=True)]  # type: ignore[operator]
        chain = np.concatenate(chains)
        following = np.where(chain < 0, -1, place[np.maximum(chain, 0)])[order]
        think = np.concatenate([work.think_s for work in works if work.think_s is not None])[order]
    holds = demands[0].marks.hold_s[mark]
    return Work(at[order], holds, drawn, next_request=following, think_s=think), mark, pool_of


def choose(
    recorded: Recorded, statements: pd.DataFrame, rules: Rules, cores: float | None
) -> tuple[Engine, Structure | None, float]:
    """Return the engine that the run calls for, its structure if it has statements, and the cost of one replay.

    `cores` are the database's, where they are known. The cost is relative to constant holds.
    """
    structure = fit(recorded, statements, cores)
    if structure is None:
        return constant, None, 1.0
    structural = Structural(structure)
    busiest = _densest(recorded.demands)
    if holds_depend_on_concurrency(structural, busiest, rules, Rules(0, -1, rules.pool_timeout_s)):
        return structural, structure, 10.0
    return constant, structure, 1.0


def _densest(demands: list[Demand]) -> list[Demand]:
    """Return the part of the demand with the most requests in the least time: contention shows there if anywhere."""
    at = np.sort(np.concatenate([demand.at_s for demand in demands]))
    if len(at) <= SAMPLE or any(demand.client is not None for demand in demands):
        return demands
    first = int(np.argmin(at[SAMPLE:] - at[:-SAMPLE]))
    return [cut(demand, [(float(at[first]), float(at[first + SAMPLE]), 0.0)]) for demand in demands]


def holds_depend_on_concurrency(structural: Structural, demands: Sequence[Demand], rules: Rules, ample: Rules) -> bool:
    """Whether the database model and constant holds would disagree, at the run's own size or with ample capacity."""
    structure = structural.structure
    if structure.stations:
        return True
    if structure.slowed > 1 + SAME:
        return True
    if np.isinf(structure.database.cores):
        return False
    held = [_mean_hold(structural(demands, each)) for each in (rules, ample)]
    return abs(held[1] - held[0]) > SAME * max(held[0], 1e-9)


def _mean_hold(outcomes: Sequence[Outcome]) -> float:
    return float(np.nanmean(np.concatenate([outcome.ended_at_s - outcome.acquired_at_s for outcome in outcomes])))
