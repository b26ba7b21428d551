"""Sizing: which pool_size, max_overflow, pool_timeout and pool_recycle, how sure, and what happens at other sizes.

In: the tables of one run, the settings it ran with, the objectives. Out: `Sizing`: a recommendation, or the reason
why there is none. The model first predicts the run that it came from; where it cannot do that, or the trace cannot
speak for its own traffic, no advice is given. Knows nothing of formats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pandas as pd

from poolctl.analysis.advice import budget, overflow_for, recommended, timeout_for
from poolctl.analysis.demand import Demand, Recorded, cut, grow, read_demand
from poolctl.analysis.engines import constant
from poolctl.analysis.goals import all_met, pooled, waiting_goals
from poolctl.analysis.pool_rules import Floats, Rules
from poolctl.analysis.regime import Regime, judge
from poolctl.analysis.search import (
    HEADROOM,
    Progress,
    Search,
    block_bootstrap,
    peak_demand,
    sized,
    with_headroom,
)
from poolctl.trace.report import Backtest, Dist, PoolSettings, Prediction, ServerInfo, Sizing
from poolctl.units import format_seconds, format_share

FEWEST = 59
"""Requests below which not even a p95 is supported."""
TOLERANCE = 0.5
"""Backtest: largest |ln((predicted + 5 ms) / (measured + 5 ms))| of the p95 wait for which advice is given."""
GOOD = 0.25
"""The same for more than low confidence in a backtest."""
NOISE_S = 0.005
LADDER = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 25, 30, 40, 50, 65, 80, 100, 150, 200, 300, 500)


class HasTables(Protocol):
    """What sizing reads of `analysis.leases.Tables`."""

    leases: pd.DataFrame
    operations: pd.DataFrame


@dataclass(frozen=True)
class _Case:
    """Everything one recommendation is made from."""

    recorded: Recorded
    search: Search
    settings: PoolSettings
    scripted: bool
    seed: int

    @property
    def demands(self) -> list[Demand]:
        return self.recorded.demands


def recommend(
    tables: HasTables,
    settings: PoolSettings,
    objectives: Sequence[object] = (),
    *,
    policy: Any = None,  # noqa: ARG001 - thresholds of sizing may become configuration
    server: ServerInfo | None = None,
    processes: int | None = None,
    seed: int = 0,
    deadline_s: float | None = None,
    scripted: bool | None = None,
    progress: Progress | None = None,
) -> Sizing:
    """Return the smallest pool that meets the waiting objectives with headroom, or the reason why none is given.

    `objectives` may hold any objectives; those on wait, acquire and timeouts count, the defaults stand in for missing
    ones. `processes` is how many will run (default: as many as were recorded); every size is per process. `deadline_s`
    is the caller's own timeout. `scripted` says that the arrivals are a scenario's tape, so that its regime is known
    (default: whether the run has operations). The same run and seed give the same answer.
    """
    goals = waiting_goals(objectives)
    text = " and ".join(goal.text for goal in goals)
    recorded = read_demand(tables.leases, tables.operations, seed)
    if recorded is None or recorded.requests < FEWEST:
        count = 0 if recorded is None else recorded.requests
        return _refused(text, f"no advice: {count} requests were recorded, a p95 needs {FEWEST}")
    scripted = scripted if scripted is not None else not tables.operations.empty
    search = Search(constant, goals, _rules(settings))
    case = _Case(recorded, search, settings, scripted, seed)
    tested = backtest(case.search, case.demands, settings)
    if not tested.ok:
        return _refused(text, _why_off(tested), tested)
    return _advise(case, text, tested, server, processes or len(case.demands), deadline_s, progress)


def _refused(text: str, reason: str, tested: Backtest | None = None, notes: list[str] | None = None) -> Sizing:
    return Sizing(text, None, "none", reason, tested, [], notes or [])


def _rules(settings: PoolSettings) -> Rules:
    unlimited = settings.pool_size is None or settings.max_overflow is None
    recycle = settings.pool_recycle_s
    return Rules(
        0 if unlimited else settings.pool_size or 0,
        -1 if unlimited else settings.max_overflow or 0,
        30.0 if settings.pool_timeout_s is None else settings.pool_timeout_s,
        # Within a run recycles are rare, and the event loop that they need is eight times slower.
        -1.0 if recycle is None or recycle >= 60 else recycle,
        bool(settings.lifo),
    )


def backtest(search: Search, demands: Sequence[Demand], settings: PoolSettings) -> Backtest:
    """Predict the run itself at the size it ran with, and compare with what was measured."""
    outcomes = search.engine(demands, _rules(settings))
    waits, measured, lost, measured_lost = [], [], [], []
    for demand, outcome in zip(demands, outcomes, strict=True):
        seen = np.isfinite(demand.measured_wait_s)
        waits.append(outcome.wait_s[seen])
        measured.append(demand.measured_wait_s[seen])
        lost.append((outcome.end[seen] == 1).astype(float))
        measured_lost.append(demand.measured_timed_out[seen].astype(float))
    predicted_p95, measured_p95 = (float(np.quantile(pooled(part), 0.95)) for part in (waits, measured))
    predicted_rate, measured_rate = (float(pooled(part).mean()) for part in (lost, measured_lost))
    error = abs(math.log((predicted_p95 + NOISE_S) / (measured_p95 + NOISE_S)))
    near = abs(predicted_rate - measured_rate) <= max(0.02, 0.35 * measured_rate)
    return Backtest(predicted_p95, measured_p95, predicted_rate, measured_rate, error, error <= TOLERANCE and near)


def _why_off(tested: Backtest) -> str:
    wait = (tested.predicted_p95_wait_s, tested.measured_p95_wait_s)
    lost = (tested.predicted_timeout_rate, tested.measured_timeout_rate)
    return (
        "no advice: the model does not even predict the run it came from: p95 wait "
        f"{format_seconds(wait[0])} predicted, {format_seconds(wait[1])} measured; "
        f"timeouts {format_share(lost[0])} predicted, {format_share(lost[1])} measured"
    )


def _advise(
    case: _Case,
    text: str,
    tested: Backtest,
    server: ServerInfo | None,
    processes: int,
    deadline_s: float | None,
    progress: Progress | None,
) -> Sizing:
    search, demands = case.search, case.demands
    most = peak_demand(demands)
    least = search.smallest(demands, most)
    if least is None:
        return _refused(text, f"no pool size fixes this: the goal is missed even with {most} connections", tested)
    regime = judge(*_arrivals(case, least))
    if not case.scripted and not regime.enough:
        return _refused(text, f"no advice: {regime.reasons[0]}", tested, regime.reasons[1:])
    roomy = with_headroom(search, demands, least, case.seed)
    block = max(2 * regime.scale_s, 0.5)
    sizes = block_bootstrap(search, demands, min(block, regime.duration_s / 4), least, case.seed, progress)
    likely = _upper(sizes, 0.9) or least
    if roomy is None:
        return _refused(text, f"no pool size fixes this with {HEADROOM - 1:.0%} more arrivals", tested)
    size = max(likely, roomy)
    chosen, notes, fits = _settings(case, size, server, processes, deadline_s)
    notes = _notes(case, regime, sizes, processes) + notes
    predictions = _predictions(case, chosen, size)
    if not fits:
        return Sizing(text, None, "none", notes[-1], tested, predictions, notes[:-1])
    each = " per process" if processes > 1 else ""
    reason = (
        f"pool_size {size}{each}: {least} meets the objective on the recorded arrivals, "
        f"{roomy} with {HEADROOM - 1:.0%} more, {likely} in nine of ten resamples of the run"
    )
    return Sizing(text, chosen, _confidence(case, regime, tested, sizes), reason, tested, predictions, notes)


def _arrivals(case: _Case, size: int) -> tuple[Floats, list[int]]:
    """All arrivals in order, and the size that each quarter of the run asks for."""
    at = np.sort(pooled([demand.at_s for demand in case.demands]))
    edges = np.linspace(at[0], at[-1] + 1e-9, 5)
    quarters = []
    for low, high in pairwise(edges.tolist()):
        part = [cut(demand, [(low, high, 0.0)]) for demand in case.demands]
        most = peak_demand(part)
        quarters.append(case.search.smallest(part, most, min(size, most)) or most + 1)
    return at, quarters


def _upper(sizes: list[int], quantile: float) -> int | None:
    """Return the empirical quantile, rounded up to a size that occurred."""
    return sizes[min(math.ceil(quantile * len(sizes)), len(sizes)) - 1] if sizes else None


def _settings(
    case: _Case, size: int, server: ServerInfo | None, processes: int, deadline_s: float | None
) -> tuple[PoolSettings, list[str], bool]:
    """Return the settings, sentences about them, and whether the server has room for them (else the last one says
    so)."""
    random = np.random.default_rng([case.seed, 41])
    grown = [grow(demand, HEADROOM, random) for demand in case.demands]
    outcomes = case.search.at(grown, size)
    room = budget(server)
    ceiling = size if room.allowed is None else room.allowed // processes - size
    checkouts = sum(len(outcome.end) for outcome in outcomes)

    def connect_share(overflow: int) -> float:
        outcomes = case.search.at(case.demands, size, overflow)
        return (sum(int(outcome.opened.sum()) for outcome in outcomes) - size * len(outcomes)) / max(checkouts, 1)

    overflow = overflow_for(size, max(ceiling, 0), connect_share)
    wait = pooled([outcome.wait_s for outcome in outcomes])
    limit = min((goal.limit for goal in case.search.goals if goal.measure != "timeouts"), default=0.05)
    hold = case.demands[0].marks.hold_s
    timeout, why = timeout_for(
        case.settings.pool_timeout_s, float(np.quantile(wait, 0.999)), limit, deadline_s, float(np.quantile(hold, 0.99))
    )
    notes = [why]
    total = processes * (size + overflow)
    if room.allowed is None:
        return recommended(size, overflow, timeout, case.settings), notes, True
    if total > room.allowed:
        notes.append(
            f"no setting fits: {processes} × {size + overflow} = {total} connections are needed, the server leaves "
            f"{room.allowed} ({room.text}): fewer processes, a pooler, or shorter holds"
        )
        return recommended(size, overflow, timeout, case.settings), notes, False
    enough = "enough" if 2 * total <= room.allowed else "not enough"
    notes.append(
        f"budget: {processes} × {size + overflow} = {total} of {room.allowed} connections ({room.text}); "
        f"{enough} for a rolling deploy, which doubles them for a while"
    )
    return recommended(size, overflow, timeout, case.settings), notes, True


def _notes(case: _Case, regime: Regime, sizes: list[int], processes: int) -> list[str]:
    at = np.sort(pooled([demand.at_s for demand in case.demands]))
    whose = "the scenario's own arrivals" if case.scripted else "the traffic of this recording"
    traffic = f"{len(at)} requests in {format_seconds(regime.duration_s)}"
    scale = f"index of dispersion {regime.burstiness:.1f} over {format_seconds(regime.scale_s)}"
    notes = [f"valid for {whose} only: {traffic}, {scale}"]
    notes += [f"the run is short for its traffic: {reason}" for reason in regime.reasons]
    if sizes:
        notes.append(
            f"90 % of the resamples of this run ask for {_upper(sizes, 0.05)} to {_upper(sizes, 0.95)} connections"
        )
    if case.recorded.skipped:
        notes.append(f"{case.recorded.skipped} operations that the generator never started are part of the demand")
    if case.recorded.other_pools:
        notes.append(f"{case.recorded.other_pools} leases of other pools are not part of it")
    if processes != len(case.demands):
        notes.append(
            f"sized for the arrivals that each of {len(case.demands)} recorded processes had, not for {processes}"
        )
    notes.append("holds are replayed as recorded: they must not grow when more connections are busy at once")
    return notes


def _confidence(case: _Case, regime: Regime, tested: Backtest, sizes: list[int]) -> str:
    """high needs a long run that is long enough for its own traffic, a good backtest and a narrow interval."""
    doubts = 0
    low, high = _upper(sizes, 0.05) or 1, _upper(sizes, 0.95) or 1
    doubts += not regime.enough
    doubts += tested.error is not None and tested.error > GOOD
    doubts += high - low > max(2, 0.4 * high)
    doubts += case.recorded.requests < 299
    short = regime.duration_s < 300 or case.recorded.requests < 2_995
    return "low" if doubts > 1 else "medium" if doubts or short else "high"


def _predictions(case: _Case, chosen: PoolSettings, size: int) -> list[Prediction]:
    """Predict a ladder of sizes around the chosen one, today's settings, and the recommendation itself."""
    today = (case.settings.pool_size, case.settings.max_overflow)
    wanted = {(step, 0) for step in LADDER if step <= max(1.6 * size, size + 2)}
    wanted |= {(near, 0) for near in (size - 2, size - 1, size, size + 1, size + 2) if near >= 1}
    if chosen.pool_size is not None and chosen.max_overflow is not None:
        wanted.add((chosen.pool_size, chosen.max_overflow))
    if today[0] is not None and today[1] is not None and today[0] > 0 and today[1] >= 0:
        wanted.add((today[0], today[1]))
    return [predict(case.search, case.demands, *pair) for pair in sorted(wanted)]


def predict(search: Search, demands: Sequence[Demand], size: int, overflow: int) -> Prediction:
    """Return what the model says of the recorded arrivals at one size."""
    outcomes = search.engine(demands, sized(search.rules, size, overflow))
    start = min(float(outcome.requested_at_s[0]) for outcome in outcomes if len(outcome.end))
    finish = max(float(np.nanmax(outcome.ended_at_s)) for outcome in outcomes if len(outcome.end))
    held = sum(float(np.nansum(outcome.ended_at_s - outcome.granted_at_s)) for outcome in outcomes)
    capacity = (size + overflow) * len(outcomes)
    lost = sum(outcome.timeout_rate * len(outcome.end) for outcome in outcomes)
    return Prediction(
        size,
        overflow,
        _dist(pooled([outcome.wait_s for outcome in outcomes])),
        lost / sum(len(outcome.end) for outcome in outcomes),
        held / (capacity * (finish - start)) if finish > start else None,
        sum(outcome.peak_open for outcome in outcomes),
        all_met(search.goals, outcomes),
    )


def _dist(values: Floats) -> Dist:
    """Quantiles only where as many requests support them as a measurement would need."""

    def quantile(share: float, needs: int) -> float | None:
        return float(np.quantile(values, share)) if len(values) >= needs else None

    if not len(values):
        return Dist(0)
    return Dist(
        len(values),
        float(values.mean()),
        quantile(0.5, 5),
        quantile(0.9, 29),
        quantile(0.95, 59),
        quantile(0.99, 299),
        float(values.max()),
    )
