"""Objectives: what a run is held to, as in `p95 wait < 50ms`, and what the run says to it.

In: text, read before anything runs; later a View. Out: `Objective`; `ObjectiveResult` with value, interval and one of
pass, fail, inconclusive. Grammar: `[STATISTIC] MEASURE OP VALUE[UNIT]`. A duration without a statistic means its p95,
an event its count, or its rate where the value is a share (`%`) or a rate (`/s`).

A quantile, a mean and a rate are estimates: they pass or fail only where their 95 % interval lies on one side of the
limit, and are inconclusive where it does not. A quantile is judged by the share of samples beyond the limit (the same
question, asked where the answer lies), with the sample counted at its effective size. A maximum and a count are
facts of the run.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from poolctl.analysis import stats
from poolctl.analysis.breakdown import time_values
from poolctl.analysis.sweep import Floats
from poolctl.analysis.view import Bools, View
from poolctl.errors import UsageError
from poolctl.trace.report import ObjectiveResult, Outcome
from poolctl.units import format_rate, format_seconds, format_share, parse_duration

TIMES = ("acquire", "wait", "connect", "ping", "hold", "sql", "idle", "checkin", "response", "lag")
"""Measures with samples, in seconds."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "p999": 0.999}
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
PER_S = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}

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


EVENTS: dict[str, Callable[[View], Hits]] = {
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
"""Measures that are counted. errors: failed operations of a load test, else failed requests. leaks: never
returned. skipped: operations that never started. connects: connections opened for a checkout."""

_PARTS = re.compile(
    r"(?:(?P<statistic>[a-z][\w.]*)\s+)?(?P<measure>[a-z_]+)\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<value>\S.*)"
)


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective, read."""

    text: str
    """As it is shown: with its statistic, single spaces."""
    statistic: str
    """A key of QUANTILES, max, mean, rate or count."""
    measure: str
    sign: str
    limit: float
    """Seconds, a share of one, events per second, or a count."""
    per_s: bool = False
    """A rate in events per second, rather than a share."""

    def holds(self, value: float) -> bool:
        """Whether a value keeps to the limit."""
        return bool(OPERATORS[self.sign](value, self.limit))

    def show(self, value: float) -> str:
        """Return a value of this measure as a person reads it."""
        if self.measure in TIMES:
            return format_seconds(value)
        if self.statistic == "count":
            return f"{value:g}"
        return format_rate(value) if self.per_s else format_share(value)


def parse(text: str) -> Objective:
    """Read an objective. Raises UsageError that says what is possible."""
    match = _PARTS.fullmatch(text.strip().lower())
    if match is None:
        raise _refused(text, "it is not `[STATISTIC] MEASURE OP VALUE`", _EXAMPLES)
    measure, sign, value = match["measure"].removesuffix("_time"), match["sign"], match["value"].strip()
    if measure not in TIMES and measure not in EVENTS:
        near = difflib.get_close_matches(measure, [*TIMES, *EVENTS], 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise _refused(
            text, f"there is no measure {measure!r}", f"{hint}The measures are {', '.join([*TIMES, *EVENTS])}"
        )
    is_time = measure in TIMES
    shares = value.endswith("%") or "/" in value
    statistic = match["statistic"] or ("p95" if is_time else "rate" if shares else "count")
    possible = [*QUANTILES, "max", "mean"] if is_time else ["count", "rate"]
    if statistic not in possible:
        raise _refused(text, f"there is no {statistic} of {measure}", f"of {measure} there are {', '.join(possible)}")
    limit, per_s = _limit(text, statistic, value)
    return Objective(f"{statistic} {measure} {sign} {match['value'].strip()}", statistic, measure, sign, limit, per_s)


_EXAMPLES = "write it as `p95 wait < 50ms`, `rate timeouts < 0.1%`, `count leaks == 0` or `p99 hold < 2s`"


def _refused(text: str, why: str, hint: str) -> UsageError:
    return UsageError(f"objective {text!r}: {why}", hint)


def _limit(text: str, statistic: str, value: str) -> tuple[float, bool]:
    if statistic not in ("rate", "count"):
        if re.fullmatch(r"[\d.]+", value) and float(value) != 0:
            raise _refused(text, f"{value!r} has no unit", "write 50ms, 2s or 1m")
        return parse_duration(value, f"objective {text!r}"), False
    number, _, unit = value.partition("/")
    try:
        if statistic == "count":
            return float(int(value)), False
        if unit:
            return float(number) / PER_S[unit.strip()], True
        limit = float(value[:-1]) / 100 if value.endswith("%") else float(value)
    except (ValueError, KeyError):
        hint = "write a whole number" if statistic == "count" else "write a share (0.1%) or a rate (2/min)"
        raise _refused(text, f"cannot read {value!r} as a {statistic}", hint) from None
    if not 0 <= limit <= 1:
        raise _refused(text, f"{value!r} is no share of one", "write a share (0.1%) or a rate (2/min)")
    return limit, False


def judge(objective: Objective, view: View, invalid: str = "") -> ObjectiveResult:
    """Hold a run to an objective. `invalid` says why the run itself cannot be trusted: then nothing is concluded."""
    result = _judge_times(objective, view) if objective.measure in TIMES else _judge_events(objective, view)
    if invalid and result.verdict is not Outcome.INCONCLUSIVE:
        return ObjectiveResult(result.objective, result.value, result.ci, Outcome.INCONCLUSIVE, invalid)
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
    hits, candidates = EVENTS[objective.measure](view)
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
