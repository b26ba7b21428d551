"""Diagnosis -> the first screen of `poolctl diagnose`: the verdict, what to do, why, and what was found, in 80 columns.

In: a Report and a console. Out: lines on the console; nothing here is said twice. The details follow elsewhere.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from poolctl.errors import Exit
from poolctl.report import sentences, tables
from poolctl.report.screen import bullet, dim, print_title
from poolctl.trace.report import Report, Severity

COMMAND = "diagnose"
TONES = {"healthy": "bold green", "cannot tell": "bold yellow", "oversized": "bold yellow"}
SEVERITY = {
    Severity.CRITICAL: "bold red",
    Severity.ERROR: "red",
    Severity.WARNING: "yellow",
    Severity.INFO: "cyan",
}
MOST = 6
"""Findings on the first screen; all of them, with their evidence, are below."""


def tone(report: Report) -> str:
    """Return the style of the verdict."""
    return TONES.get(report.verdict, "bold red")


def first_screen(console: Console, report: Report) -> None:
    """Print what a person on call reads first."""
    console.print(Text(report.summary, style=tone(report)))
    _facts(console, report)
    if report.evidence:
        print_title(console, f"Why “{report.verdict}”, and nothing else")
        for line in report.evidence:
            bullet(console, "·", sentences.near(line), "")
    _findings(console, report)


def closing(console: Console, report: Report) -> None:
    """Say the outcome again: on a terminal the beginning has scrolled away."""
    console.print()
    console.print(Text(report.summary, style=tone(report)))
    _facts(console, report)


def _facts(console: Console, report: Report) -> None:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    if report.next_step:
        grid.add_row("  next", Text(sentences.near(report.next_step), style="bold"))
    if report.objectives or report.exit_code not in (Exit.DONE, Exit.INTERRUPTED):
        grid.add_row("  gate", sentences.gate(report))
    grid.add_row("  seen", sentences.seen(report))
    grid.add_row("  target", sentences.target(report))
    console.print(grid)


def _findings(console: Console, report: Report) -> None:
    found = tables.by_severity(report)
    print_title(console, "Findings", "" if found else "none")
    for finding in found[:MOST]:
        line = Text(f"  {finding.severity.value:<9}", style=SEVERITY[finding.severity])
        line.append(f"{finding.code} ", style="bold").append(sentences.near(finding.title), style="not bold default")
        line.truncate(console.width, overflow="ellipsis")
        console.print(line)
    if len(found) > MOST:
        console.print(dim(f"… and {len(found) - MOST} more"))
