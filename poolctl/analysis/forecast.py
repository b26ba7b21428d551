"""Forecast: a run's report for `poolctl size`: other sizes, other circumstances, several runs.

In: runs, settings, what is asked and supposed. Out: a Report whose verdict and exit code are those of the sizing. Knows
no format and prints nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from poolctl.analysis.across import Known, across, roomiest, why_apart
from poolctl.analysis.case import Case, Wishes, prepare
from poolctl.analysis.leases import tables
from poolctl.analysis.objectives import Objective, parse
from poolctl.analysis.search import Progress
from poolctl.analysis.summary import analyse, sized, target_of
from poolctl.analysis.view import View
from poolctl.analysis.what_if import Supposition
from poolctl.config import Settings
from poolctl.errors import Exit
from poolctl.trace.report import PoolSettings, Report, ServerInfo, Sizing, TargetInfo
from poolctl.trace.run import Run
from poolctl.units import format_seconds, format_share

COMMAND = "size"
SIZED, HOPELESS, CANNOT_TELL = "sized", "no size helps", "cannot tell"
"""The verdicts of `poolctl size`."""


GRID = Wishes(grid=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """What `poolctl size` was asked."""

    wishes: Wishes = GRID
    supposing: Supposition | None = None
    cores: int | None = None
    """Of the database's machine; None: as the run knows them."""
    progress: Progress | None = None


def forecast(runs: Sequence[Run], settings: Settings, asked: Asked) -> Report:
    """Return the report on the size that the runs ask for: of several, from the roomiest, tested on the others.

    Raises InputError when a run cannot be read, UsageError for an objective or a supposition that cannot be.
    """
    first, others = runs[0], list(runs[1:])
    tested = []
    why = None
    if others:
        known = [made for run in runs if isinstance(made := _known(run, settings, asked.cores), Known)]
        if len(known) > 1:
            tested = across(known)
            why = why_apart(tested)
            best = roomiest(known).run_id
            first = next(run for run in runs if run.id == best)

    def sizer(view: View, objectives: Sequence[Objective]) -> Sizing:
        wanted = {"wishes": asked.wishes, "supposing": asked.supposing, "progress": asked.progress}
        made = sized(view, objectives, server=_server(view.target, asked.cores), **wanted)
        if not others:
            return made
        notes = [f"fitted to run {first.id}, the roomiest of {len(runs)}", *made.notes]
        if why is not None and made.recommended is not None:
            made = dataclasses.replace(made, recommended=None, confidence="none", reason=why)
        return dataclasses.replace(made, across=tested, notes=notes)

    return concluded(analyse(first, settings, sizer), settings)


def concluded(report: Report, settings: Settings) -> Report:
    """Return the report with the verdict, the first sentence and the exit code that its sizing asks for."""
    sizing = report.sizing
    if sizing is None or (sizing.recommended is None and not sizing.no_size):
        counts_as = {"pass": Exit.DONE, "fail": Exit.GATE_FAILED}
        code = counts_as.get(settings.inconclusive or "", Exit.INCONCLUSIVE)
        verdict, sentence = CANNOT_TELL, sizing.reason if sizing else "no advice: no request was recorded"
    elif sizing.recommended is None:
        code, verdict, sentence = Exit.GATE_FAILED, HOPELESS, sizing.reason
    else:
        code, verdict = Exit.DONE, SIZED
        sentence = _sentence(sizing, sizing.recommended, report.target.settings)
    summary = f"{sentence[0].upper()}{sentence[1:]}" + ("" if sentence.endswith(".") else ".")
    return dataclasses.replace(report, command=COMMAND, verdict=verdict, summary=summary, exit_code=int(code))


def _sentence(sizing: Sizing, best: PoolSettings, today: PoolSettings) -> str:
    at = {(p.pool_size, p.max_overflow): p for p in sizing.predictions}
    here = at.get((best.pool_size or 0, best.max_overflow or 0))
    same = (best.pool_size, best.max_overflow) == (today.pool_size, today.max_overflow)
    what = f"{'Keep' if same else 'Set'} pool_size={best.pool_size}, max_overflow={best.max_overflow}"
    if here is None:
        return what
    wait = here.wait_time_s
    said = f"{what}: p95 wait {format_seconds(wait.p95)} and {format_share(here.timeout_rate)} timeouts predicted"
    before = at.get((today.pool_size or 0, today.max_overflow or 0))
    if same or before is None:
        return said
    return f"{said}, {format_seconds(before.wait_time_s.p95)} and {format_share(before.timeout_rate)} with today's"


def _server(target: TargetInfo, cores: int | None) -> ServerInfo:
    return target.server if cores is None else dataclasses.replace(target.server, cores=cores)


def _known(run: Run, settings: Settings, cores: int | None) -> Known | None:
    """Return the run's case; None for one that cannot be sized at all."""
    made = tables(run)
    objectives = [parse(text) for text in settings.slo or made.meta.get("objectives") or ()]
    target = target_of(made)
    view = View(made, target, settings.policy, [])
    seed = int(made.meta.get("seed") or 0)
    server = _server(target, cores)
    case = prepare(made, view.settings, objectives, server, seed, most_requests=None)
    return Known(run.id, made.meta.get("tape"), case) if isinstance(case, Case) else None
