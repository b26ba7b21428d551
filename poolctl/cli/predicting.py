"""From recorded runs to a forecast, to an exit code. What `poolctl size` does.

In: what was typed, and Settings. Out: a report where the Output wants it, progress on stderr.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from poolctl.analysis.case import Wishes
from poolctl.analysis.forecast import Asked, forecast
from poolctl.analysis.search import Progress
from poolctl.analysis.what_if import Supposition
from poolctl.cli import replay, streams
from poolctl.cli.numbers import numbers
from poolctl.cli.output import Output
from poolctl.config import Settings
from poolctl.errors import UsageError
from poolctl.trace.run import Run
from poolctl.units import parse_duration


def asked(given: dict[str, Any]) -> Asked:
    """Return what the options ask. Raises UsageError for what cannot be read."""
    deadline, idle = given["deadline"], given["idle_limit"]
    wishes = Wishes(
        sizes=numbers(given["pool_size"], "--pool-size", least=1),
        overflows=numbers(given["max_overflow"], "--max-overflow", least=0),
        grid=True,
        deadline_s=None if deadline is None else _positive(deadline, "--deadline"),
        idle_limit_s=None if idle is None else _positive(idle, "--idle-limit"),
        rolling=given["rolling"],
    )
    supposing = Supposition(
        arrivals=_factor(given["arrivals"], "--arrivals"),
        sql=_factor(given["sql"], "--sql"),
        holds=dict(_hold(text) for text in given["hold"] or ()),
        processes=_count(given["processes"], "--processes"),
        server_connections=_count(given["server_connections"], "--server-connections"),
    )
    return Asked(wishes, None if supposing == Supposition() else supposing, _count(given["cores"], "--cores"))


def run(
    names: Sequence[str], wanted: Asked, settings: Settings, output: Output, *, verify: bool = False, quiet: bool
) -> int:
    """Make the forecast, prove it by runs where that is wanted, deliver it, and return its exit code."""
    for note in settings.notes:
        streams.say(f"note: {note}")
    root = Path(settings.runs_dir)
    runs = list({found.path: found for found in (Run.open(name, root) for name in names)}.values())
    if verify and wanted.supposing is not None:
        raise UsageError("--verify runs what was recorded, not what if", "leave the what-ifs away")
    plans = {found.id: replay.plan_of(found, settings) for found in runs} if verify else {}
    with progress_bar(quiet=quiet) as told:
        made = forecast(runs, settings, dataclasses.replace(wanted, progress=told))
    if verify:
        made = replay.prove(plans[made.run.id], made, settings, quiet=quiet)
    output.deliver([made])
    return made.exit_code


@contextlib.contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress | None]:
    """Show a bar on stderr where that is a terminal; it is gone when the work is done."""
    if quiet or not streams.is_terminal(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, no_color=not streams.wants_color(sys.stderr))
    columns = (TextColumn("trying sizes"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _factor(text: str | None, option: str) -> float:
    if text is None:
        return 1.0
    match = re.fullmatch(r"\s*[x×*]?\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if value <= 0:
        raise UsageError(f"{option}: cannot read {text!r} as a factor", "write it as 1.5: half as much again")
    return value


def _hold(text: str) -> tuple[str, float]:
    site, found, factor = text.rpartition("=")
    if not found or not site.strip():
        raise UsageError(f"--hold: cannot read {text!r}", "write it as checkout=0.5: that site holds half as long")
    return site.strip(), _factor(factor, "--hold")


def _count(value: int | None, option: str) -> int | None:
    if value is not None and value < 1:
        raise UsageError(f"{option} {value}: must be 1 or more", "give 1 or more")
    return value


def _positive(text: str, option: str) -> float:
    value = parse_duration(text, option)
    if value <= 0:
        raise UsageError(f"{option}: must be more than 0", "write it as 500ms, 30s or 10m")
    return value
