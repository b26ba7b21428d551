"""Report -> text for a terminal, by rich: the essentials on the first screen, the details below.

In: a Report and a Style. Out: text, with ANSI sequences only when the style says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from poolctl.report import diagnosis, sentences, sizing_console, tables
from poolctl.report.chart import area, stretch
from poolctl.report.screen import WIDE, bullet, dim, print_table, print_title, screen, text_of
from poolctl.report.style import Style
from poolctl.trace.report import Finding, PoolPoint, Report
from poolctl.units import format_rate, format_seconds

HOLDERS = 10
"""Rows of the holding table; the JSON has all of them."""

VERDICT = {0: "bold green", 1: "bold red", 3: "bold red", 4: "bold yellow", 130: "bold yellow"}


def render(report: Report, style: Style) -> str:
    """Return the report as lines of at most `style.width` columns."""
    if report.command == sizing_console.COMMAND:
        return sizing_console.render(report, style)
    console = screen(style)
    watched = report.command == diagnosis.COMMAND
    if watched:
        diagnosis.first_screen(console, report)
    else:
        console.print(Text(report.summary, style=VERDICT.get(report.exit_code, "bold")))
        _overview(console, report)
    _times(console, report)
    _holding(console, report)
    _long_leases(console, report)
    _server(console, report)
    _pool(console, report)
    if not watched:
        _why(console, report)
    _findings(console, report)
    _objectives(console, report)
    sizing_console.sections(console, report)
    _facts(console, report)
    if watched:
        diagnosis.closing(console, report)
    else:
        _close(console, report)
    console.print(
        Text("Show this run again: ", style="dim").append(sentences.again(report), style="bold cyan"), soft_wrap=True
    )
    return text_of(console)


def _overview(console: Console, report: Report, labels: Sequence[str] = ()) -> None:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for label, text in sentences.overview(report):
        if labels and label not in labels:
            continue
        grid.add_row(f"  {label}", Text(text, style=VERDICT.get(report.exit_code, "") if label == "gate" else ""))
    console.print(grid)


def _times(console: Console, report: Report) -> None:
    print_title(console, "Where the time went", sentences.leases(report))
    print_table(console, tables.times(report))
    if console.width < WIDE:
        console.print(dim("acquire = wait in the queue + connect + ping; hold = checkout to checkin"))
        console.print(dim("sql = the database worked; idle-in-hold = the rest of the hold, used by nobody"))


def _holding(console: Console, report: Report) -> None:
    table = tables.holding(report)
    if not table.rows:
        return
    print_title(console, "Who holds the connections", "sql: the database's part of the hold; share: of all holding")
    _first_rows(console, table, "all of them in the JSON report")


def _server(console: Console, report: Report) -> None:
    if not report.backends and not report.server_blind:
        return
    about = "of leases that are open, wait for a lock, or are waited for" if report.backends else ""
    print_title(console, "What the server says", about)
    if report.backends:
        print_table(console, tables.backends(report))
    for line in report.server_blind:
        console.print(dim(f"cannot be seen: {line}"))


def _long_leases(console: Console, report: Report) -> None:
    table = tables.long_leases(report)
    if not table.rows:
        return
    print_title(console, "The longest leases", "above the p95 of hold time, the longest first")
    _first_rows(console, table, "in the JSON report")


def _first_rows(console: Console, table: tables.Table, others: str) -> None:
    """Print the first rows, and where the others are."""
    print_table(console, tables.Table(table.columns, table.rows[:HOLDERS]))
    if len(table.rows) > HOLDERS:
        console.print(dim(f"… and {len(table.rows) - HOLDERS} more ({others})"))


def _pool(console: Console, report: Report) -> None:
    points = report.pool.timeline
    print_title(console, "The pool over time", sentences.pool(report))
    if not points:
        return
    settings = report.target.settings
    capacity = settings.capacity
    limited = capacity is not None and capacity != float("inf")
    top = int(capacity or 0) if limited else max(report.pool.peak_checked_out, 1)
    label_width = 20
    width = console.width - label_width - 3
    held = stretch([float(point.checked_out) for point in points], width)
    rows = area(held, top, height=4)
    labels = [f"checked out {top:>6,} ┤", "│", "│", "0 ┤"]
    if limited:
        rows[0] = rows[0].replace(" ", "┈")
    for label, row in zip(labels, rows, strict=True):
        line = Text(f"{label:>{label_width}}", style="dim")
        for value, mark in zip(held, row, strict=True):
            line.append(mark, style="dim" if mark == "┈" else _load(value, settings.pool_size, capacity))
        console.print(line)
    for name, values, peak, style in _strips(points):
        if any(values):
            line = Text(f"{name} {peak:>6} ┤".rjust(label_width), style="dim")
            console.print(line.append(area(stretch(values, width), max(values))[0], style=style))
    end = format_seconds(report.run.duration_s)
    console.print(Text(" " * label_width + "0 s" + end.rjust(width - 3), style="dim"))


def _load(value: float, pool_size: int | None, capacity: float | None) -> str:
    if capacity is not None and value >= capacity:
        return "red"
    return "yellow" if pool_size is not None and value > pool_size else "green"


def _strips(points: list[PoolPoint]) -> Iterable[tuple[str, list[float], str, str]]:
    slice_s = points[1].at_s - points[0].at_s if len(points) > 1 else 1.0
    waiting = [float(point.waiting or 0) for point in points]
    timed_out = [float(point.timed_out) for point in points]
    arrivals = [point.arrivals / slice_s for point in points]
    yield "waiting", waiting, f"{max(waiting):,.0f}", "yellow"
    yield "timed out", timed_out, f"{max(timed_out):,.0f}", "red"
    yield "arrivals", arrivals, format_rate(max(arrivals)), "cyan"


def _why(console: Console, report: Report) -> None:
    if report.evidence:
        print_title(console, f"Why “{report.verdict}”", "what speaks for it, and what rules the others out")
        for line in report.evidence:
            bullet(console, "·", line, "")


def _findings(console: Console, report: Report) -> None:
    watched = report.command == diagnosis.COMMAND
    if report.findings or not watched:
        print_title(console, "The findings in full" if watched else "Findings", "" if report.findings else "none")
    for finding in tables.by_severity(report):
        _finding(console, finding)


def _finding(console: Console, finding: Finding) -> None:
    head = Text(f"{finding.severity.value} ", style=diagnosis.SEVERITY[finding.severity])
    head.append(f"{finding.code} {finding.slug}", style="bold").append(
        f" (confidence {finding.confidence})", style="dim"
    )
    console.print(Padding(head, (0, 0, 0, 2)))
    console.print(Padding(Text(sentences.near(finding.title)), (0, 0, 0, 4)))
    for line in finding.evidence:
        bullet(console, "·", sentences.near(line), "dim")
    if places := sentences.places(finding):
        bullet(console, "at", places, "dim")
    bullet(console, "→", sentences.near(finding.advice), "green")


def _objectives(console: Console, report: Report) -> None:
    if not report.objectives:
        return
    print_title(console, "Objectives")
    print_table(console, tables.objectives(report))


def _facts(console: Console, report: Report) -> None:
    if lines := sentences.generator(report):
        print_title(console, "The load generator")
        for line in lines:
            bullet(console, "·", line, "")
    if report.validity:
        print_title(console, "Is this run valid?")
        for check in report.validity:
            bullet(console, "✓" if check.ok else "✗", sentences.validity(check), "" if check.ok else "bold red")
    print_title(console, "Capture")
    for line in sentences.capture(report):
        bullet(console, "·", line, "")
    other = tables.other_times(report)
    if other.rows:
        print_title(console, "Other times")
        print_table(console, other)


def _close(console: Console, report: Report) -> None:
    """Say the outcome again: on a terminal the beginning has scrolled away."""
    console.print()
    console.print(Text(report.summary, style=VERDICT.get(report.exit_code, "bold")))
    _overview(console, report, ("gate", "advice"))
