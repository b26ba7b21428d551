"""Report or Comparison -> GitHub's workflow commands: what the checks tab and the diff show.

GitHub shows ten annotations of a kind and step, so what decides comes first and the rest is counted. Tables belong into
the step summary, as Markdown (`poolctl.cli.output` appends it).
"""

from __future__ import annotations

from poolctl.report import cases
from poolctl.report.cases import Case, Says, Suite
from poolctl.report.style import Style
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Report

MOST = 10
"""Annotations of a kind that GitHub shows for a step."""
KINDS = {Says.BAD: "error", Says.DOUBT: "warning", Says.NOTED: "notice"}


def render(report: Report, style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """Return the run as annotations; the first is the verdict."""
    return _lines([cases.of_report(report)], "notice" if report.exit_code == 0 else "error", report.summary)


def render_comparison(comparison: Comparison, style: Style) -> str:  # noqa: ARG001
    """Return the comparison as annotations; the first is the verdict."""
    kind = "notice" if comparison.exit_code == 0 else "error"
    return _lines(cases.of_comparison(comparison), kind, comparison.summary)


def _lines(suites: list[Suite], kind: str, summary: str) -> str:
    lines = [command(kind, "poolctl", summary)]
    said = {kind: 1}
    left = 0
    for says in (Says.BAD, Says.DOUBT, Says.NOTED):
        for name, case in [(suite.name, case) for suite in suites for case in suite.cases if case.says is says]:
            of = _kind(case)
            if said.get(of, 0) < MOST:
                said[of] = said.get(of, 0) + 1
                lines.append(command(of, f"{name}: {case.name}", case.message))
            else:
                left += 1
    if left:
        lines.append(f"{left} more are in the report")
    return "\n".join(lines) + "\n"


def _kind(case: Case) -> str:
    return "warning" if case.says is Says.NOTED and case.severe else KINDS[case.says]


def command(kind: str, title: str, message: str) -> str:
    """Return one workflow command, its properties and text escaped as the runner reads them."""
    name = _escape(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={name}::{_escape(message)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
