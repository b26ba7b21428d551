"""Screen: headings, tables and bullets on a terminal, by rich.

In: tables of plain text, a Style. Out: text, with ANSI sequences only when the style says so. Knows no report.
"""

from __future__ import annotations

import io

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from poolctl.report import tables
from poolctl.report.style import Style

WIDE = 120
"""From this many columns on, tables show all of theirs."""
TONES = {"good": "green", "bad": "red", "doubt": "yellow", "mark": "cyan", "": ""}


def screen(style: Style) -> Console:
    """Return a console that keeps what is printed; `text_of` returns it."""
    return Console(
        file=io.StringIO(),
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


def text_of(console: Console) -> str:
    """Return what was printed, without blanks at the ends of lines."""
    printed = console.file
    assert isinstance(printed, io.StringIO)  # noqa: S101 - `screen` made it
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()) + "\n"


def bullet(console: Console, mark: str, text: str, style: str) -> None:
    """Print a line behind a mark, wrapped beside it."""
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style=style), Text(text, style=style))
    console.print(Padding(grid, (0, 0, 0, 4)))


def print_title(console: Console, title: str, aside: str = "") -> None:
    """Print a heading, and beside it (or below, where it does not fit) what the section needs said."""
    console.print()
    beside = Text(title, style="bold").append(f"  {aside}" if aside else "", style="not bold dim")
    if cell_len(beside.plain) <= console.width:
        console.print(beside)
    else:
        console.print(Text(title, style="bold"))
        console.print(dim(aside))


def dim(text: str) -> Padding:
    """Return an aside."""
    return Padding(Text(text, style="dim"), (0, 0, 0, 2))


def print_table(console: Console, table: tables.Table) -> None:
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
