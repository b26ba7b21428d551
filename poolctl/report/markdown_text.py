"""Texts, lists, sections and tables in Markdown (GitHub's dialect). Knows no report."""

from __future__ import annotations

import re

from poolctl.report.tables import Table


def section(title: str, *blocks: str) -> list[str]:
    """Return a heading and its blocks; empty blocks are left out."""
    lines = ["", f"## {title}"]
    for block in blocks:
        lines += ["", block] if block else []
    return lines


def items(texts: list[str]) -> list[str]:
    """Return a list."""
    return ["", *(f"- {text}" for text in texts)] if texts else []


def table_text(table: Table) -> str:
    """Return a table with all its columns."""
    rows = [[column.title for column in table.columns], [":--" if column.text else "--:" for column in table.columns]]
    rows += [[escape(cell).replace("|", "\\|") for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_MARKS = re.compile(r"[\\*`]|(?<!\w)_|_(?!\w)|<(?=[a-zA-Z/!?])")
"""What Markdown would take for markup. An underscore inside a word is none."""


def escape(text: str) -> str:
    """Return a text of which nothing is taken for markup."""
    return _MARKS.sub(r"\\\g<0>", text).replace("\n", " ")
