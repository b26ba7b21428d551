"""Report -> Markdown (GitHub's dialect), for a pull request, a wiki or an incident's notes."""

from __future__ import annotations

from poolctl.report import sentences, sizing_markdown, tables
from poolctl.report.markdown_text import escape, items, section, table_text
from poolctl.report.style import Style
from poolctl.trace.report import Finding, Report


def render(report: Report, style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """Return the report as Markdown; all columns of all tables."""
    if report.command == "size":
        return sizing_markdown.render(report)
    lines = [f"**{escape(report.summary)}**", ""]
    lines += [f"- {label}: {escape(text)}" for label, text in sentences.overview(report)]
    lines += section("Where the time went", escape(sentences.leases(report)) + ".", table_text(tables.times(report)))
    if report.sites:
        about = "`sql`: the database's part of the hold; `share`: of all holding."
        lines += section("Who holds the connections", about, table_text(tables.holding(report)))
    if report.backends or report.server_blind:
        about = "Of leases that are open, wait for a lock, or are waited for." if report.backends else ""
        lines += section(
            "What the server says", about, *([table_text(tables.backends(report))] if report.backends else [])
        )
        lines += items([f"cannot be seen: {escape(line)}" for line in report.server_blind])
    lines += section("The pool over time", escape(sentences.pool(report)) + ".")
    if report.evidence:
        lines += section(f"Why “{report.verdict}”") + items([escape(line) for line in report.evidence])
    lines += section("Findings", *([_finding(finding) for finding in tables.by_severity(report)] or ["None."]))
    if report.objectives:
        lines += section("Objectives", table_text(tables.objectives(report)))
    lines += sizing_markdown.sections(report)
    lines += _facts(report)
    lines += ["", f"Show this run again: `{sentences.again(report)}`"]
    return "\n".join(lines) + "\n"


def _finding(finding: Finding) -> str:
    lines = [f"### {finding.code} {finding.slug}: {finding.severity} (confidence {finding.confidence})", ""]
    lines += [escape(sentences.near(finding.title)), ""]
    lines += [f"- {escape(sentences.near(line))}" for line in finding.evidence]
    if places := sentences.places(finding):
        lines.append(f"- at {escape(places)}")
    return "\n".join([*lines, f"- **{escape(sentences.near(finding.advice))}**"])


def _facts(report: Report) -> list[str]:
    lines: list[str] = []
    if generator := sentences.generator(report):
        lines += section("The load generator") + items(generator)
    if report.validity:
        lines += section("Is this run valid?")
        lines += items([f"{'yes' if check.ok else '**no**'}: {sentences.validity(check)}" for check in report.validity])
    lines += section("Capture") + items(sentences.capture(report))
    other = tables.other_times(report)
    return lines + (section("Other times", table_text(other)) if other.rows else [])
