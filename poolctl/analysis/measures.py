"""Measures: each number of a scenario on both sides, with its ratio, interval and own verdict.

In: the evidence of both sides, what was declared. Out: rows (`trace.comparison.Measure`) and notes. What several tests
at once may claim, `compare` decides.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from poolctl.analysis import ratio, stats
from poolctl.analysis.evidence import Average, Count, Evidence
from poolctl.analysis.facts import facts
from poolctl.analysis.ratio import Estimate
from poolctl.trace.comparison import Measure, Role
from poolctl.trace.report import Outcome
from poolctl.units import format_share

if TYPE_CHECKING:
    from poolctl.analysis.compare import Declared

FLOOR_S = 1e-3
"""Added to waits and acquire times: below a millisecond they are the pool's own work and the scheduler's."""
FLOORED = ("wait", "acquire")
STRUCTURE_MARGIN = 0.02
"""Numbers a lease may rise by so much: a path that is taken now and then."""
STRUCTURE_UNITS = {"statements": ("each", 0.01), "round trips": ("each", 0.01), "connects": ("per 1000", 10.0)}
"""Unit, and what is added to both sides before the ratio is taken: below it a difference means nothing."""
HARMLESS = 0.001
"""A share of losses proven to be below this passes, whatever it was (the default objective on timeouts)."""


@dataclass(frozen=True)
class Sides:
    """The runs of a scenario, sorted."""

    scenario: str
    structure: tuple[list[Evidence], list[Evidence]]
    """Base and head: all that were recorded whole."""
    times: tuple[list[Evidence], list[Evidence]]
    """Base and head: all whose times count; run i belongs to run i where they are paired."""
    paired: bool
    runs: tuple[list[str], list[str]]
    left_out: list[str] = field(default_factory=list)
    unsound: bool = False
    """So many runs do not count that nothing is concluded."""


@dataclass
class Judged:
    """The rows of a scenario."""

    rows: list[Measure]
    notes: list[str]


def judge(sides: Sides, declared: Declared) -> Judged:
    """Return the rows: structure, primary, guards, advisory times."""
    rows, notes = facts(*sides.structure)
    rows += [row for name in STRUCTURE_UNITS if (row := _number(name, sides, declared))]
    primary = declared.primary or _primary(sides)
    cut, said = warm_up(sides)
    notes += said
    settled = cut is not None
    times = [_time(name, sides, declared, cut or 0.0, settled, name == primary) for name in _common(sides)]
    rows += [row for row in times if row]
    if all(row.role is not Role.PRIMARY for row in rows):
        why = "no run of a side counts" if not all(sides.times) else f"no {primary} time was measured on both sides"
        rows.append(Measure(f"p95 {primary}", Role.PRIMARY, "s", None, None, Outcome.INCONCLUSIVE, reason=why))
    rows += [row for name in ("timeouts", "errors") if (row := _loss(name, sides, declared))]
    order = list(Role)
    return Judged(sorted(rows, key=lambda row: order.index(row.role)), notes)


def pair(base: Sequence[Evidence], head: Sequence[Evidence]) -> list[tuple[Evidence, Evidence]] | None:
    """Return the runs two by two on the same tape, or None where they do not fit: other tapes, other numbers."""
    tapes: list[dict[str | None, list[Evidence]]] = []
    for side in (base, head):
        by_tape: dict[str | None, list[Evidence]] = defaultdict(list)
        for item in sorted(side, key=lambda item: (item.started_at, item.run)):
            by_tape[item.tape].append(item)
        tapes.append(by_tape)
    counts = [{tape: len(items) for tape, items in side.items()} for side in tapes]
    if counts[0] != counts[1] or None in counts[0] or not counts[0]:
        return None
    return [
        couple for tape in tapes[0] for couple in zip(tapes[0][tape], tapes[1][tape], strict=True)
    ]  # the order of the pairs does not matter to a mean and a spread


def warm_up(sides: Sides) -> tuple[float | None, list[str]]:
    """Return the share of each run's samples to leave out in front (MSER-5), or None where the runs never settle.

    Only steady arrivals have a warm-up; bursts are a transient and count whole. On the same tape what has not settled
    is the same on both sides, so it is kept and said.
    """
    runs = [item for side in sides.times for item in side if item.steady and "response" in item.times]
    if not runs:
        return 0.0, []
    cuts = [(stats.warm_up(item.times["response"]), len(item.times["response"])) for item in runs]
    shares = [cut / count for cut, count in cuts if cut is not None]
    if 2 * len(shares) < len(cuts):
        if sides.paired:
            return 0.0, ["most runs do not settle (MSER-5): nothing was cut off, as both sides play the same tape"]
        return None, []
    cut = float(np.median(shares))
    return cut, [f"warm-up (MSER-5): the first {format_share(cut)} of each run left out"] if cut else []


def _common(sides: Sides) -> list[str]:
    names = [set(item.times) for side in sides.times for item in side]
    shared = set.intersection(*names) if names else set()
    return [name for name in ("response", "acquire", "wait", "hold", "sql") if name in shared]


def _primary(sides: Sides) -> str:
    found = {name for side in sides.structure for item in side for name in item.times}
    return "response" if "response" in found else "hold"


def _time(name: str, sides: Sides, declared: Declared, cut: float, settled: bool, is_primary: bool) -> Measure | None:
    """The p95 of a time."""
    floor = FLOOR_S if name in FLOORED else 0.0
    values = [[_p95(item, name, cut) for item in side] for side in sides.times]
    role = Role.PRIMARY if is_primary else Role.ADVISORY
    label = f"p95 {name}"
    known = [[value for value in side if value is not None] for side in values]
    if not all(known) or any(len(k) < len(v) for k, v in zip(known, values, strict=True)):
        need = f"a run has fewer than {stats.needed(0.95)} samples"
        return Measure(label, role, "s", None, None, Outcome.INCONCLUSIVE, reason=need) if is_primary else None
    logs = [[math.log(max(value + floor, 1e-9)) for value in side] for side in known]
    level = declared.level if is_primary else declared.now
    found = _runs(logs, sides, level, declared)
    base, head = (math.exp(float(np.mean(side))) - floor for side in logs)
    row = _row(label, role, "s", (base, head), found, declared.margin)
    if not settled and row.verdict is not Outcome.INCONCLUSIVE:
        return _with(row, Outcome.INCONCLUSIVE, "the runs never settle (MSER-5): run longer, or play the same tape")
    if found.low is None:
        return _with(
            row, Outcome.INCONCLUSIVE, "one run a side has no spread: give several, or calibrate (--calibrate)"
        )
    return row


def _p95(item: Evidence, name: str, cut: float) -> float | None:
    made = item.times[name]
    return stats.quantile(np.sort(made[int(cut * len(made)) :]), 0.95)


def _runs(logs: list[list[float]], sides: Sides, level: float, declared: Declared) -> Estimate:
    """Compare one logarithm a run. Runs of one tape are one observation where the other side has other tapes."""
    if sides.paired:
        return ratio.paired(logs[0], logs[1], level, declared.margin, declared.noise.get(sides.scenario))
    tapes = [[item.tape for item in side] for side in sides.times]
    if len({tape for side in tapes for tape in side}) > 1 or None in tapes[0]:
        logs = [_by_tape(side, mine) for side, mine in zip(tapes, logs, strict=True)]
    return ratio.unpaired(logs[0], logs[1], level, declared.margin)


def _by_tape(tapes: list[str | None], logs: list[float]) -> list[float]:
    groups: dict[object, list[float]] = defaultdict(list)
    for number, (tape, value) in enumerate(zip(tapes, logs, strict=True)):
        groups[number if tape is None else tape].append(value)
    return [float(np.mean(values)) for values in groups.values()]


def _row(
    name: str, role: Role, unit: str, both: tuple[float | None, float | None], found: Estimate, margin: float
) -> Measure:
    log_margin = math.log1p(margin)
    verdict = (
        Outcome.FAIL if found.above(log_margin) else Outcome.PASS if found.below(log_margin) else Outcome.INCONCLUSIVE
    )
    limits = None
    if found.low is not None and found.high is not None and math.isfinite(found.low) and math.isfinite(found.high):
        limits = (math.exp(found.low), math.exp(found.high))
    return Measure(
        name=name,
        role=role,
        unit=unit,
        base=both[0],
        head=both[1],
        verdict=verdict,
        ratio=math.exp(found.log_ratio) if math.isfinite(found.log_ratio) else None,
        ci=limits,
        mde=None if found.mde is None else math.expm1(min(found.mde, 50.0)),
        p=found.p,
    )


def _with(row: Measure, verdict: Outcome, reason: str) -> Measure:
    values = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return Measure(**{**values, "verdict": verdict, "reason": reason, "p": None})


def _number(name: str, sides: Sides, declared: Declared) -> Measure | None:
    """A number a lease: compared over the runs, and within the two where there is one a side."""
    made = [[item.averages[name] for item in side if name in item.averages] for side in sides.structure]
    if not all(made):
        return None
    unit, floor = STRUCTURE_UNITS[name]
    margin = declared.margin if name == "connects" else STRUCTURE_MARGIN
    level = declared.guard_level
    logs = [[math.log(one.mean + floor) for one in side] for side in made]
    both = (float(np.mean([one.mean for one in made[0]])), float(np.mean([one.mean for one in made[1]])))
    together = pair(*sides.structure) is not None
    if together and both[0] == both[1]:
        found = Estimate(0.0, 0.0, 0.0, 1.0, 0.0)  # the same number on the same work: nothing to estimate
    elif len(made[0]) == len(made[1]) == 1:
        found = ratio.within(_single(made[0][0], floor), _single(made[1][0], floor), level, margin)
    elif together and len(made[0]) == len(made[1]):
        found = ratio.paired(logs[0], logs[1], level, margin, None)
    else:
        found = ratio.unpaired(logs[0], logs[1], level, margin)
    label = "connects per 1,000" if name == "connects" else f"{name} per lease"
    return _row(label, Role.STRUCTURE, unit, both, found, margin)


def _single(one: Average, floor: float) -> tuple[float, float]:
    return math.log(one.mean + floor), one.error / (one.mean + floor)


def _loss(name: str, sides: Sides, declared: Declared) -> Measure | None:
    """Timeouts and errors: exact binomial limits on effective counts."""
    made = [[item.counts[name] for item in side if name in item.counts] for side in sides.structure]
    if not all(made):
        return None
    tau = _inflation(made)
    (x, n), (y, m) = ((sum(one.hits for one in side), sum(one.of for one in side)) for side in made)
    if not n or not m:
        return None
    both = (x / n, y / m)
    most = stats.share_interval(y / tau, m / tau)[1]
    found = ratio.rates((x / tau, n / tau), (y / tau, m / tau), declared.guard_level, declared.margin)
    if found is None:
        reason = f"none in {n:,} and in {m:,}: the rate in head is at most {format_share(most)} (3/n)"
        return Measure(name, Role.GUARD, "share", *both, Outcome.PASS, reason=reason)
    row = _row(name, Role.GUARD, "share", both, found, declared.margin)
    if row.verdict is Outcome.INCONCLUSIVE and (y == 0 or most < HARMLESS):
        said = f"{y:,} of {m:,} in head: the rate is at most {format_share(most)}"
        return Measure(name, Role.GUARD, "share", *both, Outcome.PASS, row.ratio, row.ci, None, row.p, said)
    return row


def _inflation(made: list[list[Count]]) -> float:
    """How many times more the hits vary than independent ones: within the runs, or between runs of a side."""
    found = max((one.tau for side in made for one in side), default=1.0)
    squares, freedom = 0.0, 0
    for side in made:
        rate = sum(one.hits for one in side) / max(sum(one.of for one in side), 1)
        if rate > 0 and len(side) > 1:
            squares += sum((one.hits - rate * one.of) ** 2 / (rate * one.of) for one in side if one.of)
            freedom += len(side) - 1
    return max(found, squares / freedom if freedom else 1.0, 1.0)
