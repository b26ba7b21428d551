"""From settings to a window of watching, to a report, to an exit code. What `poolctl diagnose` does.

In: what to watch, and Settings. Out: a run on disk, a report where the Output wants it, progress on stderr.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from poolctl.analysis.objectives import parse
from poolctl.cli import streams
from poolctl.cli.output import Output
from poolctl.cli.recorded import judged
from poolctl.config import Settings
from poolctl.errors import UsageError
from poolctl.report import otlp, render
from poolctl.report.live import open_view
from poolctl.target.engine import look_at_engine
from poolctl.target.pool_log import read_log
from poolctl.target.spec import TargetSpec
from poolctl.trace.deltas import LOGGER
from poolctl.trace.report import Report
from poolctl.trace.run import Run
from poolctl.watch.around import add_log, look_around
from poolctl.watch.plan import WatchPlan, facts
from poolctl.watch.session import observe


def plan(command: tuple[str, ...], pid: int | None, settings: Settings) -> WatchPlan:
    """Return what is to be watched, everything checked that can be before anything runs. Raises UsageError."""
    for text in settings.slo:
        parse(text)
    url = settings.target()["url"]
    return WatchPlan(
        command=command,
        pid=pid,
        seconds=settings.window,
        server=None if url is None else TargetSpec(url=url, yes=True),  # it is only looked at
        proxy=settings.proxy,
        proxy_log=Path(settings.proxy_log) if settings.proxy_log else None,
        objectives=settings.slo,
        runs_dir=Path(settings.runs_dir),
        announced_in=Path(os.environ["POOLCTL_RUN_DIR"]) if os.environ.get("POOLCTL_RUN_DIR") else None,
    )


def run(plan: WatchPlan, settings: Settings, output: Output, *, quiet: bool, verbose: bool = False) -> int:
    """Watch, deliver the report, and return its exit code; `verbose`: with each change of a pool on stderr."""
    if verbose:
        streams.log(LOGGER)
    for note in settings.notes:
        streams.say(f"note: {note}")
    terminal = sys.stderr is not None and sys.stderr.isatty()
    color = streams.wants_color(sys.stderr)
    with open_view(sys.stderr, "diagnose", None, terminal=terminal, color=color, quiet=quiet or verbose) as view:
        try:
            recorded = observe(plan, view.update)
        except KeyboardInterrupt:
            streams.say("interrupted before anything was recorded")
            raise
    for note in recorded.read_meta().get("notes", ()):
        streams.say(f"note: {note}")
    report = judged(recorded, settings)
    code = _deliver(recorded, report, output)
    if (collector := otlp.endpoint(settings.otlp)) is not None and (problem := otlp.send(report, collector)):
        streams.say(f"warning: {problem}")
    return code


def again(name: str, settings: Settings, output: Output) -> int:
    """Judge a recorded run anew, deliver the report, and return its exit code."""
    recorded = Run.open(name, Path(settings.runs_dir))
    if settings.proxy_log:
        add_log(recorded, Path(settings.proxy_log))
    report = judged(recorded, settings)
    output.deliver([report])
    return report.exit_code


def read(log: Path, settings: Settings, output: Output) -> int:
    """Make a run of a log, deliver the report, and return its exit code."""
    with _kept_if_whole(Run.create(Path(settings.runs_dir))) as run:
        read_log(log, run, known=settings.target(), objectives=settings.slo)
        if settings.proxy_log:
            add_log(run, Path(settings.proxy_log))
    return _deliver(run, judged(run, settings), output)


def settings_only(settings: Settings, output: Output) -> int:
    """Judge an engine's settings and its server's, with no load and nothing to watch; return the exit code."""
    target = TargetSpec(**settings.target() | {"yes": True})  # it is only looked at
    if target.needs_embedded:
        raise UsageError("--window 0 judges settings, and there are none", "name an engine: --engine module:attribute")
    with _kept_if_whole(Run.create(Path(settings.runs_dir))) as run:
        info = dataclasses.asdict(look_at_engine(target)) | look_around(target, settings.proxy)
        meta = facts(WatchPlan(seconds=1, server=target, objectives=settings.slo))
        meta |= {"duration_s": 0, "ended_at_s": 0, "end": "completed", "assumed_processes": settings.processes}
        run.write_meta({**meta, "target": info})
    return _deliver(run, judged(run, settings), output)


def refuse_several(**ways: object) -> None:
    """Raise UsageError when more than one thing to look at was named."""
    named = [f"--{name}" if name != "command" else "a command" for name, value in ways.items() if value]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} are different things to look at", "give one of them")


def _deliver(run: Run, report: Report, output: Output) -> int:
    run.write_text("report.json", render(report, "json"))
    output.deliver([report])
    return report.exit_code


@contextlib.contextmanager
def _kept_if_whole(run: Run) -> Iterator[Run]:
    try:
        yield run
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
