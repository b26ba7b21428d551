"""Report -> Markdown (GitHub's dialect), for a pull request, a wiki or an incident's notes."""

from __future__ import annotations

import re

from poolctl.report import sentences, tables
from poolctl.report.style import Style
from poolctl.trace.report import Finding, Report


def render(report: Report, style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """Return the report as Markdown; all columns of all tables."""
    lines = [f"**{_escape(report.summary)}**", ""]
    lines += [f"- {label}: {_escape(text)}" for label, text in sentences.overview(report)]
    lines += _section("Where the time went", _escape(sentences.leases(report)) + ".", _table(tables.times(report)))
    if report.sites:
        about = "`sql`: the database's part of the hold; `share`: of all holding."
        lines += _section("Who holds the connections", about, _table(tables.holding(report)))
    lines += _section("The pool over time", _escape(sentences.pool(report)) + ".")
    if report.evidence:
        lines += _section(f"Why “{report.verdict}”") + _items([_escape(line) for line in report.evidence])
    lines += _section("Findings", *([_finding(finding) for finding in tables.by_severity(report)] or ["None."]))
    if report.objectives:
        lines += _section("Objectives", _table(tables.objectives(report)))
    lines += _sizing(report)
    lines += _facts(report)
    lines += ["", f"Show this run again: `{sentences.again(report)}`"]
    return "\n".join(lines) + "\n"


def _finding(finding: Finding) -> str:
    lines = [f"### {finding.code} {finding.slug}: {finding.severity} (confidence {finding.confidence})", ""]
    lines += [_escape(sentences.near(finding.title)), ""]
    lines += [f"- {_escape(sentences.near(line))}" for line in finding.evidence]
    if places := sentences.places(finding):
        lines.append(f"- at {_escape(places)}")
    return "\n".join([*lines, f"- **{_escape(sentences.near(finding.advice))}**"])


def _sizing(report: Report) -> list[str]:
    sizing = report.sizing
    if sizing is None:
        return []
    about = f"For {_escape(sizing.objective)}, confidence {sizing.confidence}: {_escape(sizing.reason)}"
    block = sentences.paste(report)
    lines = _section("Recommendation", about, "\n".join(["```python", *block, "```"]) if block else "")
    lines += _items([_escape(note) for note in sizing.notes])
    if sizing.predictions:
        about = f"{sentences.model(report).capitalize()}."
        lines += _section("At other sizes", about, _table(tables.predictions(report)))
        if sizing.rules_of_thumb:
            lines += ["", _table(tables.rules_of_thumb(report))]
    table = tables.backtest(report)
    if table.rows:
        said = [
            _escape(text) for text in (sentences.backtest_sentence(report), sentences.verified_sentence(report)) if text
        ]
        lines += _section(
            "Predicted beside measured", _table(table), *(f"{text[0].upper()}{text[1:]}." for text in said)
        )
    return lines


def _facts(report: Report) -> list[str]:
    lines: list[str] = []
    if generator := sentences.generator(report):
        lines += _section("The load generator") + _items(generator)
    if report.validity:
        lines += _section("Is this run valid?")
        lines += _items(
            [f"{'yes' if check.ok else '**no**'}: {sentences.validity(check)}" for check in report.validity]
        )
    lines += _section("Capture") + _items(sentences.capture(report))
    other = tables.other_times(report)
    return lines + (_section("Other times", _table(other)) if other.rows else [])


def _section(title: str, *blocks: str) -> list[str]:
    lines = ["", f"## {title}"]
    for block in blocks:
        lines += ["", block] if block else []
    return lines


def _items(texts: list[str]) -> list[str]:
    return ["", *(f"- {text}" for text in texts)] if texts else []


def _table(table: tables.Table) -> str:
    rows = [[column.title for column in table.columns], [":--" if column.text else "--:" for column in table.columns]]
    rows += [[_escape(cell).replace("|", "\\|") for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_MARKS = re.compile(r"[\\*`]|(?<!\w)_|_(?!\w)|<(?=[a-zA-Z/!?])")
"""What Markdown would take for markup. An underscore inside a word is none."""


def _escape(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", text).replace("\n", " ")
