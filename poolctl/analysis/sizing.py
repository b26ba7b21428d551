"""Sizing: which pool_size, max_overflow, pool_timeout and pool_recycle, how sure, and what happens at other sizes.

In: the tables of one run, the settings it ran with, the objectives. Out: `Sizing`: a recommendation, or the reason
why there is none. The model first predicts the run that it came from; where it cannot do that, or the trace cannot
speak for its own traffic, no advice is given. Knows nothing of formats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from poolctl.analysis import judgement
from poolctl.analysis.advice import settle
from poolctl.analysis.case import Case, HasTables, Wishes, prepare
from poolctl.analysis.demand import Demand
from poolctl.analysis.engines import Structural
from poolctl.analysis.goals import pooled, waiting_goals
from poolctl.analysis.grid import BOOTSTRAP, predicted
from poolctl.analysis.growth import cut, grow
from poolctl.analysis.limits import Limits, limits, stressed
from poolctl.analysis.objectives import Objective
from poolctl.analysis.pool_rules import Floats
from poolctl.analysis.predict import backtest, why_off
from poolctl.analysis.regime import Regime, judge
from poolctl.analysis.search import HEADROOM, MOST, Progress, Search, block_bootstrap, helpful, with_headroom
from poolctl.analysis.thumb import rules_of_thumb
from poolctl.analysis.what_if import Supposition, suppose
from poolctl.trace.report import Backtest, PoolSettings, ServerInfo, Sizing

MARGIN_CONSTANT, MARGIN_DATABASE = 0.05, 0.12
"""What the two models were found to be off by (notes on sizing): the smallest size keeps to its limits all the same."""
NOTHING = Wishes()


@dataclass(frozen=True)
class Found:
    """What the searches found."""

    least: int
    """Meets the goals on the recorded arrivals."""
    roomy: int | None
    """Meets them with HEADROOM × the arrivals; None: no size does."""
    useful: int
    """Beyond this, with HEADROOM × the arrivals, more connections only move the queue into the database."""
    most: int
    """The largest size that was tried."""
    resampled: list[int]
    """What each resample of the run asks for, sorted; empty for a closed loop."""
    regime: Regime
    limits: Limits
    slower: dict[float, int | None]
    """Sizes for slower SQL, by factor."""
    by_goal: dict[str, int | None] = field(default_factory=dict)
    """The smallest size for each goal alone, with the model's error as a margin."""
    floor: int = 1
    """Below this, tasks that hold several connections at once can block each other."""

    @property
    def likely(self) -> int:
        """Enough for nine of ten runs like this one: N90 of the resamples, their spread over the median times √2.

        The resamples tell how far one run is from its process; another run is as far from it again. With N90 itself
        0.79 of simulated other runs of a row-lock load met the objective, so 0.89. Where resamples ask for more than
        any size gives, the database is short, and not the pool: what is useful.
        """
        middle, ninety = upper(self.resampled, 0.5), upper(self.resampled, 0.9)
        if middle is None or ninety is None:
            return self.least
        if ninety >= self.most:
            return min(self.useful, self.most)
        return math.ceil(middle + math.sqrt(2.0) * (ninety - middle))

    @property
    def size(self) -> int:
        """The larger of what is likely enough and the size at headroom, of which nothing beyond what is useful."""
        with_headroom = self.useful if self.roomy is None else min(self.roomy, self.useful)
        return max(self.least, self.likely, self.floor, with_headroom)

    @property
    def capped(self) -> bool:
        """Whether the database, and not the pool, is short with HEADROOM × the arrivals."""
        return self.roomy is None or self.roomy > max(self.useful, self.least)


def recommend(
    tables: HasTables,
    settings: PoolSettings,
    objectives: Sequence[Objective | str] = (),
    *,
    server: ServerInfo | None = None,
    processes: int | None = None,
    seed: int = 0,
    wishes: Wishes = NOTHING,
    scripted: bool | None = None,
    closed: bool | None = None,
    most_requests: int | None = 30_000,
    supposing: Supposition | None = None,
    progress: Progress | None = None,
) -> Sizing:
    """Return the smallest pool that meets the waiting objectives with headroom, or the reason why none is given.

    `objectives` may hold any objectives; those on wait, acquire and timeouts count, the defaults stand in for missing
    ones. `processes` is how many will run (default: as many as were recorded); every size is per process. `scripted`
    says that the arrivals are a scenario's tape, so that its regime is known (default: whether the run has
    operations); `closed` that clients wait for each answer (default: what run.json says). Of a run longer than
    `most_requests` windows spread over it are used (None: all of it). `supposing` asks for other circumstances than
    the recorded ones; the backtest is of the recorded ones all the same. The same run and seed give the same answer.
    """
    text = " and ".join(goal.text for goal in waiting_goals(objectives))
    case = prepare(
        tables,
        settings,
        objectives,
        server,
        seed,
        scripted=scripted,
        closed=closed,
        most_requests=most_requests,
    )
    if isinstance(case, str):
        return refused(text, case)
    tested = backtest(case.search, case.demands)
    if case.disturbed:
        return refused(text, judgement.disturbed(case), tested)
    if not tested.ok:
        return refused(text, why_off(tested), tested)
    case = replace(case, processes=processes or case.processes, wishes=wishes)
    return _advise(case if supposing is None else suppose(case, supposing), text, tested, progress)


def refused(
    text: str, reason: str, tested: Backtest | None = None, notes: list[str] | None = None, *, no_size: bool = False
) -> Sizing:
    """Return no recommendation, and why; `no_size` says that none meets the objective, not that too little is known."""
    return Sizing(text, None, "none", reason, tested, [], notes or [], no_size=no_size)


def _advise(case: Case, text: str, tested: Backtest, progress: Progress | None) -> Sizing:
    bound = limits(case.structure, case.demands) if case.structure else Limits(0.0, 0.0, None)
    if (why := judgement.beyond_any_pool(bound)) and not case.closed:
        return refused(text, why, tested, _said_anyway(case), no_size=True)
    useful = MOST
    if isinstance(case.search.engine, Structural):
        useful = helpful(case.search, _grown(case))
        case = replace(case, search=replace(case.search, most=min(4 * useful + 16, MOST)))
    least = smallest_safe(case.search, case.demands)
    if least is None:
        why = judgement.moved_into_the_database(case, useful)
        return refused(text, why, tested, _said_anyway(case), no_size=True)
    at, quarters = _arrivals(case, least)
    regime = judge(at, quarters, case.duration_s)
    if not case.scripted and not regime.enough:
        return refused(text, f"no advice: {regime.reasons[0]}", tested, regime.reasons[1:])
    roomy = with_headroom(case.search, case.demands, least, case.seed)
    resampled, slower = _resampled(case, regime, least, progress), _slower(case, least)
    found = Found(
        least, roomy, useful, case.search.most, resampled, regime, bound, slower, _by_goal(case, least), case.floor
    )
    chosen = settle(case, case.search.at(_grown(case), found.size), found.size)
    predictions = predicted(case, chosen.settings, found.size, progress)
    notes = judgement.notes(case, found, predictions) + chosen.notes
    possible = not chosen.impossible
    return Sizing(
        text,
        chosen.settings if possible else None,
        judgement.confidence(case, found, tested) if possible else "none",
        judgement.reason(case, found) if possible else chosen.impossible,
        tested,
        predictions,
        notes,
        None,
        "database" if isinstance(case.search.engine, Structural) else "constant holds",
        bound.knee,
        rules_of_thumb(case.search, case.demands, least, _cores(case)),
        no_size=not possible,
    )


def _by_goal(case: Case, least: int) -> dict[str, int | None]:
    """Return the smallest safe size for each goal alone; with one goal there is nothing to tell apart."""
    goals = case.search.goals
    if len(goals) < 2:
        return {}
    return {goal.text: smallest_safe(replace(case.search, goals=[goal]), case.demands, least) for goal in goals}


def _said_anyway(case: Case) -> list[str]:
    """What is said where no size helps, too: what is supposed, for which traffic, by which model."""
    at = np.sort(pooled([demand.at_s for demand in case.demands]))
    supposed = [f"what if: {case.supposed}"] if case.supposed else []
    valid = judgement.valid_for(case, judge(at, [], case.duration_s))
    return [*supposed, valid, *judgement.notes_on_model(case)]


def smallest_safe(search: Search, demands: Sequence[Demand], guess: int = 8) -> int | None:
    """Return the smallest size that meets the goals with the model's own error as a margin; without one where only
    that is possible."""
    margin = MARGIN_DATABASE if isinstance(search.engine, Structural) else MARGIN_CONSTANT
    return replace(search, margin=margin).smallest(demands, guess) or search.smallest(demands, guess)


def _arrivals(case: Case, size: int) -> tuple[Floats, list[int]]:
    """All arrivals in order, and the size that each quarter of the run asks for (none for a closed loop)."""
    at = np.sort(pooled([demand.at_s for demand in case.demands]))
    quarters: list[int] = []
    if case.closed:
        return at, quarters
    for low, high in pairwise(np.linspace(at[0], at[-1] + 1e-9, 5).tolist()):
        part = [cut(demand, [(low, high, 0.0)]) for demand in case.demands]
        if any(len(demand.at_s) for demand in part):
            quarters.append(case.search.smallest(part, size) or size)
    return at, quarters


def _resampled(case: Case, regime: Regime, least: int, progress: Progress | None) -> list[int]:
    if case.closed:
        return []
    block = min(max(2 * regime.scale_s, 0.5), _span(case) / 4)
    told = None if progress is None else lambda share: progress(BOOTSTRAP * share)
    return block_bootstrap(case.search, case.demands, block, least, case.seed, told)


def _span(case: Case) -> float:
    at = pooled([demand.at_s for demand in case.demands])
    return float(at.max() - at.min())


def _slower(case: Case, least: int) -> dict[float, int | None]:
    engine = case.search.engine
    if not isinstance(engine, Structural):
        return {}
    return {factor: stressed(case.search, engine, case.demands, least, factor) for factor in (1.1, 1.2)}


def _cores(case: Case) -> float | None:
    if case.server is not None and case.server.cores:
        return float(case.server.cores)
    known = case.structure.database.cores if case.structure else float("inf")
    return known if np.isfinite(known) else None


def _grown(case: Case) -> list[Demand]:
    random = np.random.default_rng([case.seed, 41])
    return [grow(demand, HEADROOM, random) for demand in case.demands]


def upper(sizes: list[int], share: float) -> int | None:
    """Return the empirical quantile of sorted sizes, rounded up to one that occurred."""
    return sizes[min(max(int(np.ceil(share * len(sizes))), 1), len(sizes)) - 1] if sizes else None
