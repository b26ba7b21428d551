"""Gate: what a run says to its objectives.

In: an Objective, a View. Out: `ObjectiveResult` with value, interval and one of pass, fail, inconclusive.

A quantile, a mean and a rate are estimates: they pass or fail only where their 95 % interval lies on one side of the
limit, and are inconclusive where it does not. A quantile is judged by the share of samples beyond the limit (the same
question, asked where the answer lies), with the sample counted at its effective size. A maximum and a count are
facts of the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from poolctl.analysis import stats
from poolctl.analysis.breakdown import time_values
from poolctl.analysis.objectives import OPERATORS, QUANTILES, TIMES, Objective
from poolctl.analysis.sweep import Floats
from poolctl.analysis.view import Bools, View
from poolctl.trace.report import ObjectiveResult, Outcome
from poolctl.units import format_share

Hits = tuple[Bools, str]
"""Which of the candidates (leases, operations), in order of time, are events; and what the candidates are called."""


def _ends(*ends: str) -> Callable[[View], Hits]:
    return lambda view: (view.ended(*ends), "requests")


def _errors(view: View) -> Hits:
    if view.tables.operations.empty:
        return view.ended("failed"), "requests"
    return _outcomes(view, "failed")


def _outcomes(view: View, *outcomes: str) -> Hits:
    frame = view.tables.operations.sort_values("intended_at_s", kind="stable")
    return frame["outcome"].isin(outcomes).to_numpy(), "operations"


def _leaks(view: View) -> Hits:
    return view.leaked, "leases"


def _connects(view: View) -> Hits:
    values = view.tables.leases["fresh"].to_numpy(dtype=np.bool_)[view.order]
    return values[view.acquired], "checkouts"


HAPPENED: dict[str, Callable[[View], Hits]] = {
    "timeouts": _ends("timed_out"),
    "errors": _errors,
    "leaks": _leaks,
    "skipped": lambda view: _outcomes(view, "skipped"),
    "cancelled": _ends("cancelled"),
    "connects": _connects,
    "failed": _ends("failed"),
    "invalidated": _ends("invalidated"),
    "detached": _ends("detached"),
    "abandoned": _ends("abandoned"),
}
"""The measures of `objectives.EVENTS`: which of the candidates are one."""


def judge(objective: Objective, view: View, invalid: str = "") -> ObjectiveResult:
    """Hold a run to an objective. `invalid` says why the run itself cannot be trusted: then nothing is concluded."""
    result = _judge_times(objective, view) if objective.measure in TIMES else _judge_events(objective, view)
    if invalid and result.verdict is not Outcome.INCONCLUSIVE:
        return ObjectiveResult(result.objective, result.value, result.ci, Outcome.INCONCLUSIVE, invalid)
    if objective.measure in view.untold and result.verdict is Outcome.PASS:  # those that were seen can only fail it
        reason = f"what this run was made from does not tell all {objective.measure}"
        return ObjectiveResult(result.objective, None, None, Outcome.INCONCLUSIVE, reason)
    return result


def _judge_times(objective: Objective, view: View) -> ObjectiveResult:
    made = time_values(view, objective.measure)
    if not len(made):
        return _open(objective, None, None, f"no {objective.measure} time was measured")
    if objective.statistic == "max":
        return _fact(objective, float(made.max()))
    if objective.statistic == "mean":
        return _between(objective, float(made.mean()), stats.mean_interval(made), len(made))
    q = QUANTILES[objective.statistic]
    ordered = np.sort(made)
    value = stats.quantile(ordered, q)
    if value is None:
        need = f"{objective.statistic} needs {stats.needed(q):,} samples, there are {len(made):,}"
        return _open(objective, None, None, need)
    return _judge_quantile(objective, made, q, value, stats.quantile_interval(made, q, ordered))


def _judge_quantile(
    objective: Objective, made: Floats, q: float, value: float, interval: tuple[float, float] | None
) -> ObjectiveResult:
    if objective.sign in ("==", "!="):
        return _fact(objective, value, interval)
    above = objective.sign in ("<", "<=")
    beyond = ~OPERATORS[objective.sign](made, objective.limit)
    tau = stats.inflation(beyond)
    low, high = stats.share_interval(float(beyond.sum()) / tau, len(made) / tau)
    allowed = 1 - q if above else q
    if high < allowed:
        return ObjectiveResult(objective.text, value, interval, Outcome.PASS)
    if low > allowed:
        return ObjectiveResult(objective.text, value, interval, Outcome.FAIL)
    reason = (
        f"{format_share(float(beyond.mean()))} of {len(made):,} lie beyond {objective.show(objective.limit)},"
        f" 95 % interval {format_share(low)} to {format_share(high)}; {format_share(allowed)} may: {_LONGER}"
    )
    return _open(objective, value, interval, reason)


def _judge_events(objective: Objective, view: View) -> ObjectiveResult:
    hits, candidates = HAPPENED[objective.measure](view)
    total, found = len(hits), int(hits.sum())
    if objective.statistic == "count":
        return _fact(objective, float(found)) if total else _open(objective, None, None, f"there were no {candidates}")
    if not total:
        return _open(objective, None, None, f"there were no {candidates}")
    if objective.per_s:
        low, high = (bound / view.length_s for bound in stats.count_interval(found))
        return _between(objective, found / view.length_s, (low, high), total)
    if objective.sign in ("==", "!="):
        return _fact(objective, found / total)
    tau = stats.inflation(hits)
    result = _between(objective, found / total, stats.share_interval(found / tau, total / tau), total)
    if result.verdict is Outcome.INCONCLUSIVE and objective.limit > 0 and found / total < objective.limit:
        enough = math.ceil(math.log(0.05) / math.log(1 - objective.limit)) if objective.limit < 1 else 1
        reason = f"{found:,} of {total:,} {candidates}; {enough:,} without one would show it: {_LONGER}"
        return _open(objective, result.value, result.ci, reason)
    return result


_LONGER = "run longer"


def _between(objective: Objective, value: float, interval: tuple[float, float] | None, total: int) -> ObjectiveResult:
    if objective.sign in ("==", "!="):
        return _fact(objective, value, interval)
    if interval is None:
        return _open(objective, value, None, f"{total:,} samples are too few for an interval: {_LONGER}")
    sides = {objective.holds(bound) for bound in interval}
    if len(sides) == 1:
        verdict = Outcome.PASS if sides == {True} else Outcome.FAIL
        return ObjectiveResult(objective.text, value, interval, verdict)
    low, high = (objective.show(bound) for bound in interval)
    return _open(objective, value, interval, f"the 95 % interval, {low} to {high}, includes the limit: {_LONGER}")


def _fact(objective: Objective, value: float, interval: tuple[float, float] | None = None) -> ObjectiveResult:
    verdict = Outcome.PASS if objective.holds(value) else Outcome.FAIL
    return ObjectiveResult(objective.text, value, interval, verdict)


def _open(
    objective: Objective, value: float | None, interval: tuple[float, float] | None, reason: str
) -> ObjectiveResult:
    return ObjectiveResult(objective.text, value, interval, Outcome.INCONCLUSIVE, reason)
