"""Report -> the sections about sizes in Markdown; and the whole answer of `poolctl size`.

In: a Report. Out: lines of Markdown, as `report.markdown` writes them.
"""

from __future__ import annotations

from poolctl.report import sentences, sizing_tables
from poolctl.report.markdown_text import escape, items, section, table_text
from poolctl.report.sizing_chart import LEGEND, curve
from poolctl.trace.report import Report

PICTURE = 100
"""Columns of the picture."""


def render(report: Report) -> str:
    """Return the answer of `poolctl size`."""
    lines = [f"**{escape(report.summary)}**", ""]
    lines += [f"- {label}: {escape(text)}" for label, text in sentences.sizing_overview(report)]
    return "\n".join(lines + sections(report, whole=True)) + "\n"


def sections(report: Report, *, whole: bool = False) -> list[str]:
    """Return the recommendation, what it rests on, and what was measured; `whole`: with the grid and the picture."""
    sizing = report.sizing
    if sizing is None:
        return []
    about = f"For {escape(sizing.objective)}, confidence {sizing.confidence}: {escape(sizing.reason)}"
    block = sentences.paste(report)
    paste = "\n".join(["```python", *block, "```"]) if block else ""
    lines = section("Recommendation", about, escape(sizing.corrected), paste)
    lines += items([escape(note) for note in sizing.notes])
    if sizing.predictions:
        picture = curve(report, PICTURE) if whole else []
        if picture:
            lines += section("The curve", "\n".join(["```text", *picture, "```"]), escape(LEGEND))
        about = f"{sentences.model(report).capitalize()}."
        lines += section("At other sizes", about, table_text(sizing_tables.predictions(report)))
        grid = sizing_tables.grid(report)
        if whole and grid.rows:
            lines += section("p95 wait by pool_size and max_overflow", table_text(grid))
        if sizing.rules_of_thumb:
            lines += ["", table_text(sizing_tables.rules_of_thumb(report))]
    table = sizing_tables.backtest(report)
    if table.rows:
        said = [text for text in (sentences.backtest_sentence(report), sentences.verified_sentence(report)) if text]
        told = [escape(f"{text[0].upper()}{text[1:]}.") for text in said]
        lines += section("Predicted beside measured", table_text(table), *told)
    return lines
