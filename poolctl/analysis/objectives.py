"""Objectives: what a run is held to, as in `p95 wait < 50ms`.

In: text, read before anything runs. Out: `Objective`. Grammar: `[STATISTIC] MEASURE OP VALUE[UNIT]`. A duration
without a statistic means its p95, an event its count, or its rate where the value is a share (`%`) or a rate (`/s`).
How a run is held to one is in `analysis.gate`.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from poolctl.errors import UsageError
from poolctl.units import format_rate, format_seconds, format_share, parse_duration

TIMES = ("acquire", "wait", "connect", "ping", "hold", "sql", "idle", "checkin", "response", "lag")
"""Measures with samples, in seconds."""
EVENTS = (
    "timeouts",
    "errors",
    "leaks",
    "skipped",
    "cancelled",
    "connects",
    "failed",
    "invalidated",
    "detached",
    "abandoned",
)
"""Measures that are counted. errors: failed operations of a load test, else failed requests. leaks: never returned.
skipped: operations that never started. connects: connections opened for a checkout."""
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
