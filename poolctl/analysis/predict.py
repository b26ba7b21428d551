"""Predict: what the model says of a size, and of the run it came from.

In: a search (engine, goals, rules) and demands. Out: `Prediction` and `Backtest`. Decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from poolctl.analysis import stats
from poolctl.analysis.demand import Demand
from poolctl.analysis.goals import all_met, pooled, quantile
from poolctl.analysis.pool_rules import THREAD_WAKE_S, End, Floats, Outcome, Rules
from poolctl.analysis.search import Search, sized
from poolctl.trace.report import Backtest, PoolSettings, Prediction
from poolctl.units import format_seconds, format_share

TOLERANCE = 0.5
"""Largest |ln((predicted + 5 ms) / (measured + 5 ms))| of the p95 wait for which advice is given."""
NOISE_S = 0.005
"""Added on both sides, so that two tiny waits count as equal."""


def rules_of(settings: PoolSettings, threads: bool = False) -> Rules:
    """Return the pool's settings as rules; a pool class without sizes is an unlimited pool.

    With `threads` a woken waiter may find that somebody was faster: QueuePool, unlike AsyncAdaptedQueuePool.
    """
    unlimited = settings.pool_size is None or settings.max_overflow is None
    recycle = settings.pool_recycle_s
    return Rules(
        0 if unlimited else settings.pool_size or 0,
        -1 if unlimited else settings.max_overflow or 0,
        30.0 if settings.pool_timeout_s is None else settings.pool_timeout_s,
        # Within a run recycles are rare, and the event loop that they need is eight times slower.
        -1.0 if recycle is None or recycle >= 60 else recycle,
        bool(settings.lifo),
        THREAD_WAKE_S if threads else 0.0,
    )


def predict(search: Search, demands: Sequence[Demand], size: int, overflow: int = 0) -> Prediction:
    """Return what the model says of these demands at one size (each process has a pool of it)."""
    return describe(search, search.engine(demands, sized(search.rules, size, overflow)), size, overflow)


def describe(search: Search, outcomes: Sequence[Outcome], size: int, overflow: int) -> Prediction:
    """Put outcomes into the words of the report."""
    requests = sum(len(outcome.end) for outcome in outcomes)
    start = min(float(outcome.requested_at_s.min()) for outcome in outcomes if len(outcome.end))
    finish = max(float(outcome.ended_at_s.max()) for outcome in outcomes if len(outcome.end))
    held = sum(float(np.nansum(outcome.ended_at_s - outcome.granted_at_s)) for outcome in outcomes)
    capacity = (size + overflow) * len(outcomes)
    return Prediction(
        size,
        overflow,
        stats.dist(pooled([outcome.wait_s for outcome in outcomes])),
        sum(outcome.timeout_rate * len(outcome.end) for outcome in outcomes) / max(requests, 1),
        held / (capacity * (finish - start)) if finish > start and capacity else None,
        sum(outcome.peak_open for outcome in outcomes),
        all_met(search.goals, outcomes),
        stats.dist(pooled([outcome.ended_at_s - outcome.requested_at_s for outcome in outcomes])),
        sum(int(outcome.opened.sum()) for outcome in outcomes),
    )


def backtest(search: Search, demands: Sequence[Demand]) -> Backtest:
    """Predict the run itself at the size it ran with (the search's rules), and compare with what was measured."""
    outcomes = search.engine(demands, search.rules)
    seen = [np.isfinite(demand.measured_wait_s) for demand in demands]
    waits = pooled([outcome.wait_s[rows] for outcome, rows in zip(outcomes, seen, strict=True)])
    lost = pooled(
        [(outcome.end[rows] == End.TIMED_OUT).astype(np.float64) for outcome, rows in zip(outcomes, seen, strict=True)]
    )
    return compared(waits, lost, demands)


def compared(waits: Floats, lost: Floats, demands: Sequence[Demand]) -> Backtest:
    """Hold predicted waits and timeouts (1 or 0 a request) against what was measured of these demands."""
    seen = [np.isfinite(demand.measured_wait_s) for demand in demands]
    measured = pooled([demand.measured_wait_s[rows] for demand, rows in zip(demands, seen, strict=True)])
    was_lost = pooled(
        [demand.measured_timed_out[rows].astype(np.float64) for demand, rows in zip(demands, seen, strict=True)]
    )
    predicted_p95, measured_p95 = quantile(waits, 0.95), quantile(measured, 0.95)
    predicted_rate, measured_rate = float(lost.mean()), float(was_lost.mean())
    error = abs(math.log((predicted_p95 + NOISE_S) / (measured_p95 + NOISE_S)))
    near = abs(predicted_rate - measured_rate) <= max(0.02, 0.35 * measured_rate)
    return Backtest(predicted_p95, measured_p95, predicted_rate, measured_rate, error, error <= TOLERANCE and near)


def why_off(tested: Backtest) -> str:
    """Say how far the prediction of the run itself was off."""
    wait = (tested.predicted_p95_wait_s, tested.measured_p95_wait_s)
    lost = (tested.predicted_timeout_rate, tested.measured_timeout_rate)
    return (
        "no advice: the model does not even predict the run it came from: p95 wait "
        f"{format_seconds(wait[0])} predicted, {format_seconds(wait[1])} measured; "
        f"timeouts {format_share(lost[0])} predicted, {format_share(lost[1])} measured"
    )
