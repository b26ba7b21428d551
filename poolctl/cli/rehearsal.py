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
from typing import TYPE_CHECKING

from poolctl.analysis.objectives import parse
from poolctl.cli import streams
from poolctl.cli.numbers import numbers
from poolctl.cli.output import Output
from poolctl.cli.recorded import judged, keep
from poolctl.config import Settings
from poolctl.errors import Exit, OutputError, PoolctlError, UsageError
from poolctl.load.find import find
from poolctl.load.plan import LoadPlan
from poolctl.load.session import COMPLETED, INTERRUPTED, rehearse
from poolctl.report.live import open_view
from poolctl.target.spec import TargetSpec
from poolctl.trace.report import Report
from poolctl.trace.run import Run

if TYPE_CHECKING:
    from poolctl.analysis.summary import Sizer

WORST_FIRST = (Exit.INTERRUPTED, Exit.TARGET, Exit.GATE_FAILED, Exit.INCONCLUSIVE, Exit.DONE)
"""Of several runs, the first of these that any of them has is the exit code."""
ROUNDS = 2
"""How often each size of a sweep is run."""
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
    """Try the recommendation, and those beside it, on the same load."""
    sweep: tuple[int, ...] = ()
    """Sizes to run one after the other on the same load."""
    rounds: int = ROUNDS
    """How often each size of the sweep is run."""
    quiet: bool = False
    """No progress on stderr."""
    base: tuple[Run, ...] = ()
    """The baseline's runs; none: there is no baseline."""
    foreign_too: bool = False
    """Compare with a foreign baseline as well."""
    unkept: list[OutputError] = field(default_factory=list)
    """Reports that could not be written into their runs: told once all is shown."""


def laddered(manner: Manner, sweep: str | None, rounds: int | None) -> Manner:
    """Return the manner with the ladder of `--sweep`. Raises UsageError for what cannot be swept."""
    if sweep is None:
        if rounds is not None:
            raise UsageError("--rounds says how often each size of a sweep is run", "add --sweep 4,6,8")
        return manner
    if manner.verify:
        raise UsageError("--sweep and --verify both choose the sizes to run", "give one of them")
    if manner.settings.pool_size is not None:
        streams.say("note: --sweep sets pool_size; that of the settings is not used")
    if rounds is not None and rounds < 1:
        raise UsageError(f"--rounds {rounds}: must be 1 or more", "give 1 or more")
    sizes = numbers(sweep, "--sweep", least=1)
    if len(sizes) < 2:
        raise UsageError(f"--sweep {sweep}: one size is no ladder", "give several, as 4,6,8-12")
    return dataclasses.replace(manner, sweep=sizes, rounds=rounds or ROUNDS)


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
    if manner.sweep:
        made, report = _sweep(plan, manner)
    else:
        made, report = _record(plan, manner, plan.found.name)
    if manner.verify and report.exit_code not in END_ALL:
        report = prove(plan, report, manner)
        _keep(made, report, manner)
    if manner.base:
        from poolctl.cli.baseline import hold

        report = hold(report, made, manner.base, manner.settings, foreign_too=manner.foreign_too)
        _keep(made, report, manner)
    return report


def prove(plan: LoadPlan, report: Report, manner: Manner) -> Report:
    """Return the report with its recommendation, and those beside it, run on the same tape."""
    from poolctl.cli import proving

    return proving.verify(plan, report, lambda again, title: _judge(again, manner, title))


def _sweep(plan: LoadPlan, manner: Manner) -> tuple[Run, Report]:
    """Run the tape at every size of the ladder, in turns; the report is the roomiest's, with the others in it."""
    from poolctl.analysis.case import Wishes
    from poolctl.analysis.summary import sized
    from poolctl.cli import proving

    order = proving.turns(manner.sweep, manner.rounds)
    overflow = plan.target.max_overflow or 0
    plan = dataclasses.replace(plan, target=plan.target.with_pool(pool_size=order[0], max_overflow=overflow))
    wishes = Wishes(sizes=manner.sweep, overflows=(overflow,))
    made, report = _record(plan, manner, _at(plan), lambda view, objectives: sized(view, objectives, wishes=wishes))
    if report.sizing is None or report.exit_code in END_ALL:
        return made, report
    goals = tuple(report.sizing.objective.split(" and "))
    first = judged(made, dataclasses.replace(manner.settings, slo=goals))
    report = proving.sweep(plan, report, first, order[1:], lambda again, title: _judge(again, manner, title))
    _keep(made, report, manner)
    return made, report


def _judge(plan: LoadPlan, manner: Manner, title: str) -> Report:
    """Make a run that is judged by the plan's own objectives."""
    settings = dataclasses.replace(manner.settings, slo=plan.goals)
    _, report = _record(plan, dataclasses.replace(manner, settings=settings), title)
    return report


def _at(plan: LoadPlan) -> str:
    return f"{plan.found.name} at {plan.target.pool_size} + {plan.target.max_overflow}"


def _record(plan: LoadPlan, manner: Manner, title: str, sizer: Sizer | None = None) -> tuple[Run, Report]:
    """Make one run and its report, under one view."""
    terminal, color = streams.is_terminal(sys.stderr), streams.wants_color(sys.stderr)
    with open_view(sys.stderr, title, _capacity(plan), terminal=terminal, color=color, quiet=manner.quiet) as view:
        run = rehearse(plan, view.update)
        view.phase("analysing")
        report = judged(run, manner.settings, sizer)
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
