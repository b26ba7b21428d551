"""Compare: two sets of runs, scenario by scenario, to pass, fail or inconclusive.

In: the evidence of the runs of base and head, and what was declared beforehand (margin, alpha, looks). Out: a
`Comparison`. Structure first (what no machine disturbs), then one primary time a scenario, losses as guards, the rest
advisory. Knows no run directory and no format.

How alpha is spent: each look gets alpha ÷ looks. Of that four fifths go to the primary times of all scenarios (Holm),
one fifth to the guards and the numbers of the structure of all scenarios (Holm). A leak where the base had none, or a
new nested checkout, is a fact and spends nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from poolctl.analysis import measures
from poolctl.analysis.evidence import Evidence
from poolctl.analysis.measures import Judged, Sides
from poolctl.analysis.phrases import percent, sentence
from poolctl.analysis.ratio import Noise, holm
from poolctl.errors import Exit, UsageError
from poolctl.trace.comparison import Against, Comparison, Measure, Role
from poolctl.trace.report import Outcome

MARGIN = 0.10
ALPHA = 0.05
PRIMARY_SHARE = 0.8
LEFT_OUT = 0.2
"""Share of a side's runs that may be left out because they do not count; beyond it nothing is concluded."""

NEW = ("leaks", "nested checkouts")
"""Facts that one run shows where the base has none."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What was decided before anything was seen. Raises UsageError for what cannot work."""

    margin: float = MARGIN
    alpha: float = ALPHA
    looks: int = 1
    look: int = 1
    primary: str | None = None
    """The time to test; None: response, or hold where nothing was driven."""
    noise: dict[str, Noise] = field(default_factory=dict)
    """Scenario -> what a calibration learned."""

    def __post_init__(self) -> None:
        if not 0 < self.margin < 10:
            raise UsageError(f"margin {self.margin:g}: must be more than 0", "write it as 10%")
        if not 0 < self.alpha < 0.5:
            raise UsageError(f"alpha {self.alpha:g}: must be between 0 and 0.5", "write it as 0.05")

    @property
    def now(self) -> float:
        """What this look may spend."""
        return self.alpha / self.looks

    @property
    def level(self) -> float:
        """Of it, for the primary times."""
        return self.now * PRIMARY_SHARE

    @property
    def guard_level(self) -> float:
        """Of it, for guards and structure."""
        return self.now * (1 - PRIMARY_SHARE)


def compare(
    base: Sequence[Evidence],
    head: Sequence[Evidence],
    declared: Declared | None = None,
    *,
    names: tuple[str, str] = ("base", "head"),
    foreign: Sequence[str] = (),
) -> Comparison:
    """Compare two sets of runs. Raises UsageError when they have no scenario in common."""
    declared = declared or Declared()
    scenarios = list(dict.fromkeys(item.scenario for item in (*base, *head)))
    both = [
        name for name in scenarios if any(e.scenario == name for e in base) and any(e.scenario == name for e in head)
    ]
    if not both:
        raise UsageError(
            f"nothing to compare: base has {_kinds(base)}, head has {_kinds(head)}", "compare runs of one scenario"
        )
    sides = [_sides(name, base, head) for name in both]
    judged = [measures.judge(side, declared) for side in sides]
    _holm(judged, declared)
    against = [_against(side, rows) for side, rows in zip(sides, judged, strict=True)]
    missing = [name for name in scenarios if name not in both]
    verdict = _worst([item.verdict for item in against], incomplete=bool(missing))
    return Comparison(
        verdict=verdict,
        summary=_summary(verdict, against, missing, declared),
        exit_code=int(EXITS[verdict]),
        margin=declared.margin,
        alpha=declared.alpha,
        looks=declared.looks,
        look=declared.look,
        base=names[0],
        head=names[1],
        scenarios=against,
        foreign=list(foreign),
    )


EXITS = {Outcome.PASS: Exit.DONE, Outcome.FAIL: Exit.GATE_FAILED, Outcome.INCONCLUSIVE: Exit.INCONCLUSIVE}


def _sides(name: str, base: Sequence[Evidence], head: Sequence[Evidence]) -> Sides:
    mine = [[item for item in side if item.scenario == name] for side in (base, head)]
    sound = [[item for item in side if not item.broken] for side in mine]
    pairs = measures.pair(*sound)
    left_out = [f"{item.run}: {item.broken or item.disturbed}" for side in mine for item in side if _wrong(item)]
    lost = max((sum(_wrong(item) for item in side) / len(side) for side in mine), default=0.0)
    if pairs is not None:
        pairs = [pair for pair in pairs if not any(_wrong(item) for item in pair)]
        times = ([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    else:
        times = ([item for item in sound[0] if not _wrong(item)], [item for item in sound[1] if not _wrong(item)])
    return Sides(
        scenario=name,
        structure=(sound[0], sound[1]),
        times=times,
        paired=pairs is not None,
        runs=([item.run for item in mine[0]], [item.run for item in mine[1]]),
        left_out=left_out,
        unsound=lost > LEFT_OUT,
    )


def _wrong(item: Evidence) -> bool:
    return bool(item.broken or item.disturbed)


def _holm(judged: list[Judged], declared: Declared) -> None:
    """Decide over all scenarios what falls; write it into the rows."""
    for role, level in (((Role.PRIMARY,), declared.level), ((Role.GUARD, Role.STRUCTURE), declared.guard_level)):
        places = [
            (rows, index)
            for rows in judged
            for index, row in enumerate(rows.rows)
            if row.role in role and row.p is not None
        ]
        fallen = holm([rows.rows[index].p for rows, index in places], level)
        for (rows, index), fell in zip(places, fallen, strict=True):
            row = rows.rows[index]
            if fell:
                rows.rows[index] = dataclasses.replace(row, verdict=Outcome.FAIL)
            elif row.verdict is Outcome.FAIL:
                reason = "worse by itself, not beyond what several tests at once may show by chance (Holm)"
                rows.rows[index] = dataclasses.replace(row, verdict=Outcome.INCONCLUSIVE, reason=reason)


def _against(sides: Sides, judged: Judged) -> Against:
    rows = judged.rows
    failed = [row for row in rows if row.verdict is Outcome.FAIL and row.role is not Role.ADVISORY]
    primary = next((row for row in rows if row.role is Role.PRIMARY), None)
    facts = [row for row in failed if row.role is Role.STRUCTURE]
    if sides.unsound and not facts:
        verdict, reason = Outcome.INCONCLUSIVE, f"too many runs do not count: {sides.left_out[0]}"
    elif failed:
        verdict, reason = Outcome.FAIL, "; ".join(sentence(row) for row in failed)
    elif primary is None or primary.verdict is Outcome.INCONCLUSIVE:
        why = primary.reason or sentence(primary) if primary else "no time was measured in enough samples"
        verdict, reason = Outcome.INCONCLUSIVE, why
    else:
        verdict, reason = Outcome.PASS, sentence(primary)
    return Against(
        scenario=sides.scenario,
        verdict=verdict,
        reason=reason,
        paired=sides.paired,
        base_runs=sides.runs[0],
        head_runs=sides.runs[1],
        measures=rows,
        left_out=sides.left_out,
        notes=judged.notes,
    )


def _worst(verdicts: Sequence[Outcome], *, incomplete: bool) -> Outcome:
    for verdict in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Outcome.INCONCLUSIVE if incomplete else Outcome.PASS


def _summary(verdict: Outcome, against: Sequence[Against], missing: Sequence[str], declared: Declared) -> str:
    deciding = [item for item in against if item.verdict is verdict] or list(against)
    said = "; ".join(f"{item.scenario}: {item.reason}" for item in deciding)
    if missing and verdict is Outcome.INCONCLUSIVE:
        said = f"{', '.join(missing)} ran on one side only; {said}"
    head = {
        Outcome.PASS: f"Not worse by {percent(declared.margin)} or more",
        Outcome.FAIL: "Worse",
        Outcome.INCONCLUSIVE: "Cannot tell",
    }[verdict]
    return f"{head}: {said}."


def _kinds(side: Sequence[Evidence]) -> str:
    return ", ".join(dict.fromkeys(item.scenario for item in side)) or "nothing"


def primary_of(against: Against) -> Measure | None:
    """Return the tested time."""
    return next((row for row in against.measures if row.role is Role.PRIMARY), None)


def proven(made: Comparison) -> bool:
    """Whether a fact alone fails the gate, so that it may be seen after any pair and spends nothing of alpha.

    A leak or a nested checkout that the base does not have; or a number a lease the same in every run of a side.
    """
    failed = [row for one in made.scenarios for row in one.measures if row.verdict is Outcome.FAIL]
    return any(
        (row.name in NEW and not row.base) or (row.ci is not None and row.ci[0] == row.ci[1])
        for row in failed
        if row.role is Role.STRUCTURE
    )
