"""Comparison -> tables of plain text, which every format for people lays out in its own way.

In: a Comparison. Out: `Table`, lines. Knows no markup and computes no statistic.
"""

from __future__ import annotations

from poolctl.analysis.phrases import percent, show
from poolctl.report.tables import DASH, Column, Table
from poolctl.trace.comparison import Against, Comparison, Measure, Role
from poolctl.trace.report import Outcome

TONE = {Outcome.PASS: "good", Outcome.FAIL: "bad", Outcome.INCONCLUSIVE: "doubt"}
COLUMNS = (
    Column("measure", text=True),
    Column("base"),
    Column("head"),
    Column("change"),
    Column("interval"),
    Column("detectable"),
    Column("verdict", text=True),
)
TERMS = (
    "interval: two one-sided limits of the change; detectable: the smallest change that such runs show four times in "
    "five; what is in brackets decides nothing"
)


def measures(against: Against) -> Table:
    """One row a measure: structure first, then the tested time, the guards, the rest."""
    rows = [
        [
            row.name,
            show(row, row.base),
            show(row, row.head),
            DASH if row.ratio is None else percent(row.ratio - 1, sign=True),
            interval(row),
            DASH if row.mde is None else percent(row.mde),
            verdict(row),
        ]
        for row in against.measures
    ]
    tones = ["" if row.role is Role.ADVISORY else TONE[row.verdict] for row in against.measures]
    return Table(COLUMNS, rows, tones)


def interval(row: Measure) -> str:
    """The limits of the change."""
    return DASH if row.ci is None else f"{percent(row.ci[0] - 1, sign=True)} – {percent(row.ci[1] - 1, sign=True)}"


def verdict(row: Measure) -> str:
    """The verdict, the reason where there is one, and what the row may decide."""
    said = ADVISORY[row.verdict] if row.role is Role.ADVISORY else row.verdict.value
    return f"{said}: {row.reason}" if row.reason else said


ADVISORY = {Outcome.PASS: "(not worse)", Outcome.FAIL: "(worse)", Outcome.INCONCLUSIVE: "(unclear)"}
"""In brackets what decides nothing."""


def heading(against: Against) -> str:
    """How the scenario was compared."""
    base, head = len(against.base_runs), len(against.head_runs)
    if against.paired:
        return f"{base} {'pair' if base == 1 else 'pairs'} of runs, each on one tape"
    return f"{base} {'run' if base == 1 else 'runs'} against {head}, not on the same tapes"


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """What was compared, and what was declared, in labelled lines."""
    declared = f"margin {percent(comparison.margin)}, false alarms at most {percent(comparison.alpha)}"
    if comparison.looks > 1:
        declared += f", look {comparison.look} of {comparison.looks}"
    lines = [("gate", gate(comparison)), ("base", comparison.base), ("head", comparison.head)]
    lines.append(("test", declared))
    if comparison.foreign:
        lines.append(("differs", "; ".join(comparison.foreign)))
    return lines


GATE = {Outcome.PASS: "passed", Outcome.FAIL: "FAILED", Outcome.INCONCLUSIVE: "INCONCLUSIVE"}


def gate(comparison: Comparison) -> str:
    """The verdict and the exit code, which `--inconclusive` may have changed."""
    code = comparison.exit_code
    return GATE[comparison.verdict] + (f" (exit code {code})" if code or comparison.verdict is not Outcome.PASS else "")


def notes(against: Against) -> list[str]:
    """What a reader has to know beside the table."""
    return [*against.notes, *(f"does not count: {line}" for line in against.left_out)]
