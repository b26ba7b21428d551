"""From settings to load runs, one after another, to reports, to one exit code. What `poolctl loadtest` does.

In: scenarios and Settings. Out: runs on disk, reports where the Output wants them, progress on stderr.
"""

from __future__ import annotations

import dataclasses
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from poolctl.analysis.objectives import parse
from poolctl.cli import streams
from poolctl.cli.output import Output
from poolctl.cli.recorded import judged, keep
from poolctl.config import Settings
from poolctl.errors import Exit, OutputError, PoolctlError
from poolctl.load.find import find
from poolctl.load.plan import LoadPlan
from poolctl.load.session import COMPLETED, INTERRUPTED, rehearse
from poolctl.report.live import open_view
from poolctl.report.sentences import size
from poolctl.target.spec import OVERRIDES, TargetSpec
from poolctl.trace.report import Outcome, Report, Verified
from poolctl.trace.run import Run

WORST_FIRST = (Exit.INTERRUPTED, Exit.TARGET, Exit.GATE_FAILED, Exit.INCONCLUSIVE, Exit.DONE)
"""Of several runs, the first of these that any of them has is the exit code."""
END_ALL = (Exit.INTERRUPTED, Exit.TARGET)
"""After one of these no further run is begun."""


def plans(scenarios: Sequence[str], settings: Settings) -> list[LoadPlan]:
    """Return what is to be run, everything checked that can be before anything runs. Raises PoolctlError."""
    target = TargetSpec(**settings.target())
    seed = settings.seed if settings.seed is not None else secrets.randbelow(2**31)
    made = [
        LoadPlan(
            found=find(name),
            target=target,
            seed=seed,
            duration_s=settings.duration,
            rate=settings.rate,
            processes=settings.processes,
            objectives=settings.slo or None,
            runs_dir=Path(settings.runs_dir),
        )
        for name in scenarios
    ]
    for plan in made:
        for text in plan.goals:
            parse(text)
    return made


@dataclass(frozen=True, slots=True)
class Manner:
    """How the runs are to be made."""

    settings: Settings
    verify: bool = False
    """Try the recommendation on the same load."""
    quiet: bool = False
    """No progress on stderr."""
    base: tuple[Run, ...] = ()
    """The baseline's runs; none: there is no baseline."""
    foreign_too: bool = False
    """Compare with a foreign baseline as well."""
    unkept: list[OutputError] = field(default_factory=list)
    """Reports that could not be written into their runs: told once all is shown."""


def run(plans: Sequence[LoadPlan], manner: Manner, output: Output) -> int:
    """Make the runs, deliver their reports as one, and return the exit code. What was made is delivered in any case."""
    for note in manner.settings.notes:
        streams.say(f"note: {note}")
    reports: list[Report] = []
    try:
        for plan in plans:
            reports.append(_run_one(plan, manner))
            if reports[-1].exit_code in END_ALL:
                break
    except (PoolctlError, KeyboardInterrupt):
        if reports:
            output.deliver(reports)
        raise
    output.deliver(reports)
    if manner.unkept:
        raise manner.unkept[0]
    codes = {report.exit_code for report in reports}
    return next((int(code) for code in WORST_FIRST if code in codes), max(codes))


def _run_one(plan: LoadPlan, manner: Manner) -> Report:
    made, report = _record(plan, manner, plan.found.name)
    if manner.verify and report.exit_code not in END_ALL:
        report = _verify(plan, manner, report)
        _keep(made, report, manner)
    if manner.base:
        from poolctl.cli.baseline import hold

        report = hold(report, made, manner.base, manner.settings, foreign_too=manner.foreign_too)
        _keep(made, report, manner)
    return report


def _verify(plan: LoadPlan, manner: Manner, report: Report) -> Report:
    """Run the same tape at the recommended settings; return the report with what was measured there."""
    sizing = report.sizing
    best = sizing.recommended if sizing else None
    if sizing is None or best is None:
        streams.say("note: nothing to verify: there is no recommendation")
        return report
    changes = {name: getattr(best, name) for name in OVERRIDES if getattr(best, name) is not None}
    goals = tuple(sizing.objective.split(" and "))
    again = dataclasses.replace(plan, target=plan.target.with_pool(**changes), objectives=goals)
    title = f"{plan.found.name} at {size(best)}"
    judge = dataclasses.replace(manner, settings=dataclasses.replace(manner.settings, slo=goals))
    _, measured = _record(again, judge, title)
    predicted = [p for p in sizing.predictions if (p.pool_size, p.max_overflow) == (best.pool_size, best.max_overflow)]
    verdicts = {result.verdict for result in measured.objectives}
    verified = Verified(
        run_id=measured.run.id,
        settings=measured.target.settings,
        predicted=predicted[0] if predicted else None,
        measured_wait_time_s=measured.times.wait_time_s,
        measured_timeout_rate=measured.leases.timed_out / max(measured.leases.total, 1),
        met=False if Outcome.FAIL in verdicts else True if verdicts == {Outcome.PASS} else None,
    )
    return dataclasses.replace(report, sizing=dataclasses.replace(sizing, verified=verified))


def _record(plan: LoadPlan, manner: Manner, title: str) -> tuple[Run, Report]:
    """Make one run and its report, under one view."""
    terminal, color = streams.is_terminal(sys.stderr), streams.wants_color(sys.stderr)
    with open_view(sys.stderr, title, _capacity(plan), terminal=terminal, color=color, quiet=manner.quiet) as view:
        run = rehearse(plan, view.update)
        view.phase("analysing")
        report = judged(run, manner.settings)
        _keep(run, report, manner)
    _say_how_it_ended(run)
    return run, report


def _say_how_it_ended(run: Run) -> None:
    """Say on stderr when it was not the planned end: the report tells what was recorded until then."""
    meta = run.read_meta()
    end, detail = meta.get("end"), meta.get("end_detail")
    if end == INTERRUPTED and detail in ("", "by a signal"):
        streams.say("interrupted")
    elif end != COMPLETED:
        streams.say(f"error: the run ended early, {end}" + (f": {detail}" if detail else ""))
    if end != COMPLETED:
        streams.say(f"hint: what was recorded until then is kept; `poolctl report {run.id}` shows it again")


def _keep(run: Run, report: Report, manner: Manner) -> None:
    try:
        keep(run, report)
    except OutputError as error:
        manner.unkept.append(error)


def _capacity(plan: LoadPlan) -> int | None:
    """Return what all processes together can hold, as far as the command line tells; None: unknown or no limit."""
    target = plan.target
    if target.engine is not None and (target.pool_size is None or target.max_overflow is None):
        return None
    size = 5 if target.pool_size is None else target.pool_size
    overflow = 10 if target.max_overflow is None else target.max_overflow
    return None if size == 0 or overflow < 0 else plan.processes * (size + overflow)
