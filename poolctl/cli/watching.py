"""From settings to a window of watching, to a report, to an exit code. What `poolctl diagnose` does.

In: what to watch, and Settings. Out: a run on disk, a report where the Output wants it, progress on stderr.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from poolctl.analysis.objectives import parse
from poolctl.cli import streams
from poolctl.cli.output import Output
from poolctl.cli.recorded import judged
from poolctl.config import Settings
from poolctl.errors import UsageError
from poolctl.report import render
from poolctl.report.live import open_view
from poolctl.target.spec import TargetSpec
from poolctl.trace.run import Run
from poolctl.watch.plan import WatchPlan
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
        objectives=settings.slo,
        runs_dir=Path(settings.runs_dir),
        announced_in=Path(os.environ["POOLCTL_RUN_DIR"]) if os.environ.get("POOLCTL_RUN_DIR") else None,
    )


def run(plan: WatchPlan, settings: Settings, output: Output, *, quiet: bool) -> int:
    """Watch, deliver the report, and return its exit code."""
    for note in settings.notes:
        streams.say(f"note: {note}")
    terminal = sys.stderr is not None and sys.stderr.isatty()
    with open_view(
        sys.stderr, "diagnose", None, terminal=terminal, color=streams.wants_color(sys.stderr), quiet=quiet
    ) as view:
        recorded = observe(plan, view.update)
    for note in recorded.read_meta().get("notes", ()):
        streams.say(f"note: {note}")
    report = judged(recorded, settings)
    recorded.write_text("report.json", render(report, "json"))
    output.deliver([report])
    return report.exit_code


def again(name: str, settings: Settings, output: Output, *, others: bool) -> int:
    """Judge a recorded run anew, deliver the report, and return its exit code."""
    if others:
        raise UsageError("--trace names a recorded run: there is nothing else to watch", "leave the rest away")
    report = judged(Run.open(name, Path(settings.runs_dir)), settings)
    output.deliver([report])
    return report.exit_code
