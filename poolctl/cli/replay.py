"""A recorded load test, run again: from what run.json says to a plan with the same tape.

In: a run, Settings that may name the target. Out: a LoadPlan, or one clear reason why there is none. The runs
themselves are made by `rehearsal`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from poolctl.analysis.forecast import concluded
from poolctl.config import Settings
from poolctl.errors import Exit, UsageError
from poolctl.load.find import find
from poolctl.load.plan import LoadPlan, facts
from poolctl.target.spec import OVERRIDES, TargetSpec
from poolctl.trace.report import Report
from poolctl.trace.run import Run

EMBEDDED = TargetSpec().shown


def plan_of(run: Run, settings: Settings) -> LoadPlan:
    """Return the plan that plays the run's tape again. Raises UsageError for what cannot be played again."""
    meta = run.read_meta()
    source: dict[str, Any] = meta.get("source") or {}
    if not meta.get("tape") or not source.get("file"):
        raise UsageError(
            f"run {run.id} cannot be played again: it was not made by loadtest",
            "record its traffic as a scenario, or try the size in the application itself",
        )
    plan = LoadPlan(
        found=find(f"{source['file']}:{source['class']}"),
        target=_target(run, meta, settings),
        seed=int(meta["seed"]),
        duration_s=float(meta["duration_s"]),
        rate=meta.get("rate"),
        processes=int(meta.get("processes") or 1),
        runs_dir=Path(settings.runs_dir),
        loop=(meta.get("settings") or {}).get("loop"),
    )
    if facts(plan)["tape"] != meta["tape"]:
        raise UsageError(f"{source['file']} gives another tape than when run {run.id} was made", "record it again")
    return plan


def prove(plan: LoadPlan, report: Report, settings: Settings, *, quiet: bool) -> Report:
    """Return the forecast with its recommendation run, and its verdict as that leaves it."""
    from poolctl.cli.rehearsal import Manner
    from poolctl.cli.rehearsal import prove as proved

    made = proved(plan, report, Manner(settings, quiet=quiet))
    ended = made.exit_code in (Exit.INTERRUPTED, Exit.TARGET)
    return made if ended else concluded(made, settings)


def _target(run: Run, meta: dict[str, Any], settings: Settings) -> TargetSpec:
    said = (meta.get("target") or {}).get("settings") or {}
    pool = {name: said[name] for name in OVERRIDES if said.get(name) is not None}
    named = settings.target()
    if named["url"] is None and named["engine"] is None and meta.get("shown_target") != EMBEDDED:
        raise UsageError(
            f"run {run.id} was made on {meta.get('shown_target')}",
            "name it again with --url or --engine to verify there",
        )
    return TargetSpec(**{**named, **pool})
