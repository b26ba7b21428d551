"""Comparison -> Markdown (GitHub's dialect), for a comment on a pull request or a step summary."""

from __future__ import annotations

from poolctl.report import comparison_tables as tables
from poolctl.report.markdown_text import escape, items, section
from poolctl.report.markdown_text import table_text as table
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
