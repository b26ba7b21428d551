"""Comparison: what two sets of runs say about each other, and nothing else.

In: nothing. Out: frozen dataclasses whose field names are the JSON keys; `Comparison.to_json` and `from_json` are exact
inverses. Nothing here computes a statistic. Times are seconds; ratios are head ÷ base.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from poolctl.trace.report import Outcome, build, plain

SCHEMA = "poolctl.comparison/1"


class Role(StrEnum):
    """What a measure may decide."""

    STRUCTURE = "structure"
    """What no machine disturbs: may fail the gate."""
    PRIMARY = "primary"
    """The one time that is tested: passes, fails, or cannot tell, and the gate with it."""
    GUARD = "guard"
    """Losses (timeouts, errors): may fail the gate."""
    ADVISORY = "advisory"
    """Shown; decides nothing."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure on both sides."""

    name: str
    role: Role
    unit: str
    """s | share | count | each (a number a lease) | per 1000."""
    base: float | None
    """The typical run: the geometric mean over the runs for times and numbers, the total for shares and counts."""
    head: float | None
    verdict: Outcome
    ratio: float | None = None
    ci: tuple[float, float] | None = None
    """Two one-sided limits of the ratio, each at the level alpha that was used."""
    mde: float | None = None
    """The smallest relative effect that such runs show with a power of 80 %: 0.08 is 8 %."""
    p: float | None = None
    """Chance of a difference like this, or a greater one, if head were exactly the margin worse."""
    reason: str = ""
    """Why this verdict, with numbers; may be empty for a plain one."""


@dataclass(frozen=True, slots=True)
class Against:
    """One scenario (or application), base against head."""

    scenario: str
    verdict: Outcome
    reason: str
    """The verdict in one sentence."""
    paired: bool
    """The same tape was played on both sides, run by run."""
    base_runs: list[str]
    head_runs: list[str]
    measures: list[Measure]
    left_out: list[str] = field(default_factory=list)
    """Runs that did not count, each with its reason."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything about a comparison that a person or a program is shown."""

    verdict: Outcome
    summary: str
    """The verdict in a sentence: the first line of every format."""
    exit_code: int
    margin: float
    """Worse by so much is still accepted: 0.1 is 10 %."""
    alpha: float
    """Declared rate of false alarms of the whole comparison."""
    looks: int
    """How often it was allowed to look; each spent alpha ÷ looks."""
    look: int
    """The look that this is."""
    base: str
    """What the base is called."""
    head: str
    scenarios: list[Against]
    foreign: list[str] = field(default_factory=list)
    """Differences between the surroundings of base and head that were accepted."""
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; NaN and infinities become null."""
        data: dict[str, Any] = plain(self)
        return {"schema": data.pop("schema"), **data}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Comparison:
        """Rebuild a comparison from `to_json`; unknown keys are ignored."""
        made: Comparison = build(cls, data)
        return made
