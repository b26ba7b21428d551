"""Report -> text for a terminal, by rich: the essentials on the first screen, the details below.

In: a Report and a Style. Out: text, with ANSI sequences only when the style says so.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from poolctl.report import sentences, tables
from poolctl.report.chart import area, stretch
from poolctl.report.style import Style
from poolctl.trace.report import Finding, PoolPoint, Report, Severity
from poolctl.units import format_rate, format_seconds

WIDE = 120
"""From this many columns on, tables show all of theirs."""
HOLDERS = 10
"""Rows of the holding table; the JSON has all of them."""

TONES = {"good": "green", "bad": "red", "doubt": "yellow", "mark": "cyan", "": ""}
VERDICT = {0: "bold green", 1: "bold red", 3: "bold red", 4: "bold yellow", 130: "bold yellow"}
SEVERITY = {
    Severity.CRITICAL: "bold red",
    Severity.ERROR: "red",
    Severity.WARNING: "yellow",
    Severity.INFO: "cyan",
}


def render(report: Report, style: Style) -> str:
    """Return the report as lines of at most `style.width` columns."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=style.width,
        color_system="standard" if style.color else None,
        force_terminal=style.color,
        no_color=not style.color,
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(Text(report.summary, style=VERDICT.get(report.exit_code, "bold")))
    _overview(console, report)
    _times(console, report)
    _holding(console, report)
    _pool(console, report)
    _why(console, report)
    _findings(console, report)
    _objectives(console, report)
    _sizing(console, report)
    _facts(console, report)
    _close(console, report)
    console.print(
        Text("Show this run again: ", style="dim").append(sentences.again(report), style="bold cyan"), soft_wrap=True
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


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
    _title(console, "Where the time went", sentences.leases(report))
    _table(console, tables.times(report))
    if console.width < WIDE:
        console.print(_dim("acquire = wait in the queue + connect + ping; hold = checkout to checkin"))
        console.print(_dim("sql = the database worked; idle-in-hold = the rest of the hold, used by nobody"))


def _holding(console: Console, report: Report) -> None:
    table = tables.holding(report)
    if not table.rows:
        return
    _title(console, "Who holds the connections", "sql: the database's part of the hold; share: of all holding")
    _table(console, tables.Table(table.columns, table.rows[:HOLDERS]))
    if len(table.rows) > HOLDERS:
        console.print(_dim(f"… and {len(table.rows) - HOLDERS} more (all of them in the JSON report)"))


def _pool(console: Console, report: Report) -> None:
    points = report.pool.timeline
    _title(console, "The pool over time", sentences.pool(report))
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
    waiting = [float(point.waiting) for point in points]
    timed_out = [float(point.timed_out) for point in points]
    arrivals = [point.arrivals / slice_s for point in points]
    yield "waiting", waiting, f"{max(waiting):,.0f}", "yellow"
    yield "timed out", timed_out, f"{max(timed_out):,.0f}", "red"
    yield "arrivals", arrivals, format_rate(max(arrivals)), "cyan"


def _why(console: Console, report: Report) -> None:
    if report.evidence:
        _title(console, f"Why “{report.verdict}”", "what speaks for it, and what rules the others out")
        for line in report.evidence:
            _bullet(console, "·", line, "")


def _findings(console: Console, report: Report) -> None:
    _title(console, "Findings", "" if report.findings else "none")
    for finding in tables.by_severity(report):
        _finding(console, finding)


def _finding(console: Console, finding: Finding) -> None:
    head = Text(f"{finding.severity.value} ", style=SEVERITY[finding.severity])
    head.append(f"{finding.code} {finding.slug}", style="bold").append(
        f" (confidence {finding.confidence})", style="dim"
    )
    console.print(Padding(head, (0, 0, 0, 2)))
    console.print(Padding(Text(sentences.near(finding.title)), (0, 0, 0, 4)))
    for line in finding.evidence:
        _bullet(console, "·", sentences.near(line), "dim")
    if places := sentences.places(finding):
        _bullet(console, "at", places, "dim")
    _bullet(console, "→", sentences.near(finding.advice), "green")


def _bullet(console: Console, mark: str, text: str, style: str) -> None:
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style=style), Text(text, style=style))
    console.print(Padding(grid, (0, 0, 0, 4)))


def _objectives(console: Console, report: Report) -> None:
    if not report.objectives:
        return
    _title(console, "Objectives")
    _table(console, tables.objectives(report))


def _sizing(console: Console, report: Report) -> None:
    sizing = report.sizing
    if sizing is None:
        return
    _title(console, "Recommendation", f"for {sizing.objective}; confidence {sizing.confidence}")
    console.print(Padding(Text(sizing.reason), (0, 0, 0, 2)))
    if block := sentences.paste(report):
        console.print()
    for line in block:
        code, mark, comment = line.partition("  # ")
        console.print(Text(f"  {code}", style="bold").append(mark + comment, style="dim"), soft_wrap=True)
    if sizing.predictions:
        _title(console, "At other sizes", sentences.model(report))
        _table(console, tables.predictions(report))
        if sizing.rules_of_thumb:
            console.print()
            _table(console, tables.rules_of_thumb(report))
            console.print()
    for note in sizing.notes:
        _bullet(console, "·", note, "dim")
    table = tables.backtest(report)
    if table.rows:
        _title(console, "Predicted beside measured", sentences.backtest_sentence(report))
        _table(console, table)
    if sentence := sentences.verified_sentence(report):
        ok = {True: "green", False: "red", None: "yellow"}[sizing.verified.met if sizing.verified else None]
        console.print(Padding(Text(sentence, style=ok), (0, 0, 0, 2)))


def _facts(console: Console, report: Report) -> None:
    if lines := sentences.generator(report):
        _title(console, "The load generator")
        for line in lines:
            _bullet(console, "·", line, "")
    if report.validity:
        _title(console, "Is this run valid?")
        for check in report.validity:
            _bullet(console, "✓" if check.ok else "✗", sentences.validity(check), "" if check.ok else "bold red")
    _title(console, "Capture")
    for line in sentences.capture(report):
        _bullet(console, "·", line, "")
    other = tables.other_times(report)
    if other.rows:
        _title(console, "Other times")
        _table(console, other)


def _close(console: Console, report: Report) -> None:
    """Say the outcome again: on a terminal the beginning has scrolled away."""
    console.print()
    console.print(Text(report.summary, style=VERDICT.get(report.exit_code, "bold")))
    _overview(console, report, ("gate", "advice"))


def _title(console: Console, title: str, aside: str = "") -> None:
    """Print a heading, and beside it (or below, where it does not fit) what the section needs said."""
    console.print()
    beside = Text(title, style="bold").append(f"  {aside}" if aside else "", style="not bold dim")
    if cell_len(beside.plain) <= console.width:
        console.print(beside)
    else:
        console.print(Text(title, style="bold"))
        console.print(_dim(aside))


def _dim(text: str) -> Padding:
    return Padding(Text(text, style="dim"), (0, 0, 0, 2))


def _table(console: Console, table: tables.Table) -> None:
    """Print a table that fits: words wrap, paths lose their left end."""
    shown = [i for i, column in enumerate(table.columns) if console.width >= WIDE or not column.wide]
    columns = [table.columns[i] for i in shown]
    rows = [[row[i] for i in shown] for row in table.rows]
    widths = [max(cell_len(text) for text in texts) for texts in zip([c.title for c in columns], *rows, strict=True)]
    _shrink(widths, columns, console.width - 2 - GAP * (len(columns) - 1))
    grid = Grid(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
        border_style="dim",
    )
    for column, width in zip(columns, widths, strict=True):
        grid.add_column(column.title, justify="left" if column.text else "right", width=width, no_wrap=not column.text)
    for row, tone in zip(rows, table.tones or [""] * len(rows), strict=True):
        cells = [
            _tail(cell, width) if column.path else cell
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        grid.add_row(*cells, style=TONES[tone])
    console.print(Padding(grid, (0, 0, 0, 2)))


GAP = 2
"""Spaces between the columns of a table."""


def _shrink(widths: list[int], columns: list[tables.Column], room: int) -> None:
    """Take what is too much from the widest columns of words."""
    words = [i for i, column in enumerate(columns) if column.text]
    while sum(widths) > room and words:
        widest = max(words, key=lambda i: widths[i])
        if widths[widest] <= len(columns[widest].title):
            return
        widths[widest] -= 1


def _tail(text: str, width: int) -> str:
    """Return the end of a path that fits, from a directory on where that does not cost too much."""
    if cell_len(text) <= width:
        return text
    end = text[len(text) - width + 1 :]
    cut = end.find("/")
    return "…" + (end[cut:] if 0 < cut < len(end) // 2 else end)
