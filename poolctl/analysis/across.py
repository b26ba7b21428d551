"""Across: several runs, each predicted from another one.

In: the cases of the runs, by id. Out: `Across`, one entry a run. A model that only knows how to repeat the run it was
fitted to is found out here. Decides no size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from poolctl.analysis.case import Case
from poolctl.analysis.demand import Demand
from poolctl.analysis.goals import pooled
from poolctl.analysis.pool_rules import End, Ints
from poolctl.analysis.predict import compared
from poolctl.trace.report import Across
from poolctl.units import format_seconds


@dataclass(frozen=True)
class Known:
    """A run and its case."""

    run_id: str
    tape: str | None
    """The digest of the tape: one tape, one load."""
    case: Case


def roomiest(runs: Sequence[Known]) -> Known:
    """Return the run that says most: that with the largest pool, of several the one with the most requests."""
    return max(runs, key=lambda run: (run.case.settings.capacity or 0.0, run.case.requests))


def across(runs: Sequence[Known]) -> list[Across]:
    """Predict every run from the roomiest of the others."""
    found = []
    for run in runs:
        source = roomiest([other for other in runs if other is not run])
        rules = run.case.search.rules
        demands = _demands(run, source)
        outcomes = source.case.search.engine(demands, rules)
        waits = pooled([outcome.wait_s for outcome in outcomes])
        lost = pooled([(outcome.end == End.TIMED_OUT).astype(np.float64) for outcome in outcomes])
        found.append(Across(run.run_id, run.case.settings, source.run_id, compared(waits, lost, run.case.demands)))
    return found


def why_apart(found: Sequence[Across]) -> str | None:
    """Say which run another one does not predict; None where all do."""
    worst = max(
        (each for each in found if not each.backtest.ok), key=lambda each: each.backtest.error or 0, default=None
    )
    if worst is None:
        return None
    wait = format_seconds(worst.backtest.predicted_p95_wait_s), format_seconds(worst.backtest.measured_p95_wait_s)
    return (
        "no advice: the runs do not predict each other: "
        f"run {worst.run_id} from run {worst.from_run}: p95 wait {wait[0]} predicted, {wait[1]} measured"
    )


def _demands(run: Known, source: Known) -> list[Demand]:
    """Return the load of `run` with the leases of `source`: one tape is played as it was, else arrivals of the one do
    what leases of the same site and context did in the other."""
    ours, theirs = run.case.demands, source.case.demands
    if run.tape is not None and run.tape == source.tape and len(ours) == len(theirs):
        return theirs
    donors, names = _donors(source.case), _names(run.case)
    everything = np.concatenate(list(theirs[0].marks.donors.values()))
    random = np.random.default_rng([run.case.seed, 71])
    made = []
    for demand in ours:
        mark = np.empty(len(demand.mark), dtype=np.int64)
        for name in np.unique(names[demand.mark]):
            mine = np.flatnonzero(names[demand.mark] == name)
            mark[mine] = random.choice(donors.get(str(name), everything), len(mine))
        made.append(replace(demand.blank(), mark=mark, marks=theirs[0].marks))
    return made


def _names(case: Case) -> np.ndarray:
    rows = case.recorded.rows
    columns = [rows[column].astype(str).tolist() for column in ("site", "context") if column in rows]
    return np.array([" ".join(parts) for parts in zip(*columns, strict=True)] or [""] * len(rows))


def _donors(case: Case) -> dict[str, Ints]:
    names, whole = _names(case), np.concatenate(list(case.demands[0].marks.donors.values()))
    return {str(name): whole[names[whole] == name] for name in np.unique(names[whole])}
