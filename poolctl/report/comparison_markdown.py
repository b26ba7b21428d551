"""Comparison -> Markdown (GitHub's dialect), for a comment on a pull request or a step summary."""

from __future__ import annotations

from poolctl.report import comparison_tables as tables
from poolctl.report.markdown import _escape as escape
from poolctl.report.markdown import _items as items
from poolctl.report.markdown import _section as section
from poolctl.report.markdown import _table as table
from poolctl.report.style import Style
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Outcome

MARK = {Outcome.PASS: "✅", Outcome.FAIL: "❌", Outcome.INCONCLUSIVE: "❔"}


def render(comparison: Comparison, style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """Return the comparison as Markdown."""
    lines = [f"{MARK[comparison.verdict]} **{escape(comparison.summary)}**", ""]
    lines += [f"- {label}: {escape(text)}" for label, text in tables.facts(comparison)]
    for against in comparison.scenarios:
        title = escape(f"{against.scenario}: {tables.heading(against)}")
        lines += section(title, table(tables.measures(against)))
        lines += items([escape(line) for line in tables.notes(against)])
    return "\n".join([*lines, "", escape(tables.TERMS[0].upper() + tables.TERMS[1:]) + "."]) + "\n"
