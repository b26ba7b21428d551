"""Comparison -> text for a terminal, by rich."""

from __future__ import annotations

from rich.table import Table as Grid
from rich.text import Text

from poolctl.report import comparison_tables as tables
from poolctl.report.console import VERDICT
from poolctl.report.screen import bullet, dim, print_table, print_title, screen, text_of
from poolctl.report.style import Style
from poolctl.trace.comparison import Comparison


def render(comparison: Comparison, style: Style) -> str:
    """Return the comparison as lines of at most `style.width` columns."""
    console = screen(style)
    tone = VERDICT.get(comparison.exit_code, "bold")
    console.print(Text(comparison.summary, style=tone))
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for label, text in tables.facts(comparison):
        grid.add_row(f"  {label}", Text(text, style=tone if label == "gate" else ""))
    console.print(grid)
    for against in comparison.scenarios:
        print_title(console, against.scenario, tables.heading(against))
        print_table(console, tables.measures(against))
        for line in tables.notes(against):
            bullet(console, "·", line, "")
    console.print(dim(tables.TERMS))
    return text_of(console)
