"""Report -> the sections about sizes on a terminal; and the whole answer of `poolctl size`.

In: a Report and a Style, or the console of a longer report. Out: text as `report.console` writes it.
"""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from poolctl.report import sentences, sizing_tables
from poolctl.report.screen import bullet, dim, print_table, print_title, screen, text_of
from poolctl.report.sizing_chart import LEGEND, curve
from poolctl.report.style import Style
from poolctl.trace.report import Report

COMMAND = "size"
"""Reports of this command are about sizes only."""


def render(report: Report, style: Style) -> str:
    """Return the answer of `poolctl size` as lines of at most `style.width` columns."""
    console = screen(style)
    console.print(Text(report.summary, style={0: "bold green", 1: "bold red"}.get(report.exit_code, "bold yellow")))
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for label, text in sentences.sizing_overview(report):
        grid.add_row(f"  {label}", Text(text))
    console.print(grid)
    sections(console, report, whole=True)
    return text_of(console)


def sections(console: Console, report: Report, *, whole: bool = False) -> None:
    """Print the recommendation, what it rests on, and what was measured; `whole`: with the grid and the picture."""
    sizing = report.sizing
    if sizing is None:
        return
    print_title(console, "Recommendation", f"for {sizing.objective}; confidence {sizing.confidence}")
    console.print(Padding(Text(sizing.reason), (0, 0, 0, 2)))
    if sizing.corrected:
        console.print(Padding(Text(sizing.corrected, style="yellow"), (0, 0, 0, 2)))
    if block := sentences.paste(report):
        console.print()
    for line in block:
        code, mark, comment = line.partition("  # ")
        console.print(Text(f"  {code}", style="bold").append(mark + comment, style="dim"), soft_wrap=True)
    if sizing.predictions:
        _predictions(console, report, whole=whole)
    for note in sizing.notes:
        bullet(console, "·", note, "dim")
    table = sizing_tables.backtest(report)
    if table.rows:
        print_title(console, "Predicted beside measured", sentences.backtest_sentence(report))
        print_table(console, table)
    if sentence := sentences.verified_sentence(report):
        ok = {True: "green", False: "red", None: "yellow"}[sizing.verified.met if sizing.verified else None]
        console.print(Padding(Text(sentence, style=ok), (0, 0, 0, 2)))


def _predictions(console: Console, report: Report, *, whole: bool) -> None:
    if whole and (lines := curve(report, console.width)):
        print_title(console, "The curve", LEGEND)
        for line in lines:
            console.print(Text(line), soft_wrap=True)
    print_title(console, "At other sizes", sentences.model(report))
    table = sizing_tables.predictions(report, whole=whole)
    print_table(console, sizing_tables.fitting(table, console.width) if whole else table)
    grid = sizing_tables.grid(report)
    if whole and grid.rows:
        print_title(console, "p95 wait by pool_size and max_overflow", "✓ the objective is met, ✗ it is missed")
        print_table(console, grid)
        console.print(dim("everything that is predicted for each of them: --format json, or markdown"))
    if report.sizing and report.sizing.rules_of_thumb:
        print_title(console, "Rules of thumb", "what the model predicts for each")
        print_table(console, sizing_tables.rules_of_thumb(report))
        console.print(dim("none of them is a recommendation"))
        console.print()
