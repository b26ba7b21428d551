"""Goals: the objectives that a pool's size decides, in a form that a prediction can be held to.

In: objectives (their text, as in `p95 wait < 50ms`). Out: goals over the model's outcomes. Objectives that no size
decides (hold times, leaks) are left out. Knows nothing of traces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from poolctl.analysis.pool_rules import Floats, Outcome
from poolctl.errors import UsageError
from poolctl.units import parse_duration

DEFAULT_GOALS = ("p95 wait < 50ms", "rate timeouts < 0.1%")
"""What is aimed at where nothing was asked: FIELD.md section 2 for acquire_time, and hardly any timeouts."""

_GOAL = re.compile(
    r"(?:(?P<statistic>p\d{2,3}|max|mean|rate)\s+)?(?P<measure>wait|acquire|timeouts)(?:_time)?\s*(?P<sign><=?)\s*(?P<value>.+)"
)


@dataclass(frozen=True, slots=True)
class Goal:
    """One objective on waiting."""

    text: str
    measure: str
    """wait | acquire | timeouts."""
    quantile: float
    """0.95 for p95, 1 for max; −1 for the mean. Unused for timeouts."""
    limit: float
    """Seconds, or a share of the requests."""
    inclusive: bool = False

    def value(self, outcomes: Sequence[Outcome]) -> float:
        """Return what the model says of this measure, over all processes."""
        if self.measure == "timeouts":
            total = sum(len(outcome.end) for outcome in outcomes)
            return sum(outcome.timeout_rate * len(outcome.end) for outcome in outcomes) / total if total else 0.0
        times = pooled([outcome.wait_s if self.measure == "wait" else outcome.acquire_s for outcome in outcomes])
        if not len(times):
            return 0.0
        return float(times.mean()) if self.quantile < 0 else float(np.quantile(times, self.quantile))

    def met(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether the prediction keeps to the limit."""
        value = self.value(outcomes)
        return value <= self.limit if self.inclusive else value < self.limit


def pooled(parts: Sequence[Floats]) -> Floats:
    """Return the values of all processes together."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0)


def waiting_goals(objectives: Iterable[object]) -> list[Goal]:
    """Return the goals among the objectives; the defaults for waiting and for timeouts where none is given."""
    found = [goal for goal in (_read(_text(objective)) for objective in objectives) if goal is not None]
    defaults = [goal for goal in map(_read, DEFAULT_GOALS) if goal is not None]
    if not any(goal.measure != "timeouts" for goal in found):
        found.insert(0, defaults[0])
    if not any(goal.measure == "timeouts" for goal in found):
        found.append(defaults[1])
    return found


def all_met(goals: Sequence[Goal], outcomes: Sequence[Outcome]) -> bool:
    """Whether every goal holds."""
    return all(goal.met(outcomes) for goal in goals)


def _text(objective: object) -> str:
    return objective if isinstance(objective, str) else str(getattr(objective, "text", objective))


def _read(text: str) -> Goal | None:
    match = _GOAL.fullmatch(text.strip().lower())
    if match is None:
        return None
    statistic, measure = match["statistic"] or ("rate" if match["measure"] == "timeouts" else "p95"), match["measure"]
    if (statistic == "rate") != (measure == "timeouts"):
        return None
    quantile = {"max": 1.0, "mean": -1.0, "rate": 0.0}.get(statistic)
    if quantile is None:
        digits = statistic[1:]
        quantile = int(digits) / 10 ** len(digits)
    try:
        limit = _share(match["value"]) if measure == "timeouts" else parse_duration(match["value"].strip())
    except (UsageError, ValueError):
        return None
    return Goal(" ".join(text.split()), measure, quantile, limit, match["sign"] == "<=")


def _share(text: str) -> float:
    stripped = text.strip()
    return float(stripped[:-1]) / 100 if stripped.endswith("%") else float(stripped)
