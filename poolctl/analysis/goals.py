"""Goals: the objectives that a pool's size decides, held against the model's outcomes.

In: objectives (or their text). Out: those on wait, acquire and timeouts, and their values in a prediction. Objectives
that no size decides (hold times, leaks) are left out. Knows nothing of traces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from poolctl.analysis.objectives import QUANTILES, Objective, parse
from poolctl.analysis.pool_rules import End, Floats, Outcome

DEFAULT_GOALS = ("p95 wait < 50ms", "rate timeouts < 0.1%")
"""What is aimed at where nothing was asked: FIELD.md section 2 for acquire_time, and hardly any timeouts."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One objective on waiting, as the model can judge it."""

    objective: Objective

    @property
    def text(self) -> str:
        """As the objective is shown."""
        return self.objective.text

    @property
    def on_time(self) -> bool:
        """Whether it is about a time, in seconds, and not about timeouts."""
        return self.objective.measure != "timeouts"

    @property
    def limit(self) -> float:
        """Seconds, a share or a count."""
        return self.objective.limit

    def value(self, outcomes: Sequence[Outcome]) -> float:
        """Return what the model says of this measure, over all processes."""
        if not self.on_time:
            lost = sum(int((outcome.end == End.TIMED_OUT).sum()) for outcome in outcomes)
            total = sum(len(outcome.end) for outcome in outcomes)
            return lost if self.objective.statistic == "count" else lost / max(total, 1)
        waits = self.objective.measure == "wait"
        times = pooled([outcome.wait_s if waits else outcome.acquire_s for outcome in outcomes])
        if not len(times):
            return 0.0
        if self.objective.statistic == "mean":
            return float(times.mean())
        return quantile(times, QUANTILES.get(self.objective.statistic, 1.0))

    def met(self, outcomes: Sequence[Outcome], margin: float = 0.0) -> bool:
        """Whether the prediction keeps to the limit, also where times are longer by this share."""
        return self.objective.holds(self.value(outcomes) * (1 + margin if self.on_time else 1))


def pooled(parts: Sequence[Floats]) -> Floats:
    """Return the values of all processes together."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0)


def quantile(values: Floats, share: float) -> float:
    """Return the smallest value that at least this share does not exceed, as `analysis.stats` has it."""
    return float(np.quantile(values, share, method="inverted_cdf"))


def waiting_goals(objectives: Iterable[Objective | str]) -> list[Goal]:
    """Return the goals among the objectives; the defaults for waiting and for timeouts where none is given."""
    given = (parse(each) if isinstance(each, str) else each for each in objectives)
    found = [Goal(each) for each in given if _decided_by_size(each)]
    wait, timeouts = (Goal(parse(text)) for text in DEFAULT_GOALS)
    if not any(goal.on_time for goal in found):
        found.insert(0, wait)
    if all(goal.on_time for goal in found):
        found.append(timeouts)
    return found


def all_met(goals: Sequence[Goal], outcomes: Sequence[Outcome], margin: float = 0.0) -> bool:
    """Whether every goal holds, with a margin for times."""
    return all(goal.met(outcomes, margin) for goal in goals)


def _decided_by_size(objective: Objective) -> bool:
    if objective.sign not in ("<", "<=", "=="):
        return False
    if objective.measure == "timeouts":
        return objective.statistic == "count" or (objective.statistic == "rate" and not objective.per_s)
    return objective.measure in ("wait", "acquire") and objective.statistic in (*QUANTILES, "max", "mean")
