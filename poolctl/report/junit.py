"""Report or Comparison -> JUnit XML, one test case a check.

What is inconclusive is an error (it is never a pass), a finding that does not decide the gate a skipped case with its
text. The document fits the schema of Ant's JUnit task and that of Jenkins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from poolctl.report import cases
from poolctl.report.cases import Case, Says, Suite
from poolctl.report.style import Style
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Report

ELEMENTS = {Says.BAD: "failure", Says.DOUBT: "error", Says.NOTED: "skipped"}
EPOCH = "1970-01-01T00:00:00"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not know."""


def render(report: Report, style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """Return the run as one test suite."""
    return document([cases.of_report(report)])


def render_all(reports: Sequence[Report], style: Style) -> str:  # noqa: ARG001
    """Return each run as a test suite of one document."""
    return document([cases.of_report(report) for report in reports])


def render_comparison(comparison: Comparison, style: Style) -> str:  # noqa: ARG001
    """Return each scenario as a test suite."""
    return document(cases.of_comparison(comparison))


def document(suites: list[Suite]) -> str:
    """Return the suites as one XML document."""
    body = "".join(_suite(number, suite) for number, suite in enumerate(suites))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n{body}</testsuites>\n'


def _suite(number: int, suite: Suite) -> str:
    count = {says: sum(case.says is says for case in suite.cases) for says in Says}
    started = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.started_at)
    attributes = {
        "id": str(number),
        "package": "poolctl",
        "name": suite.name,
        "timestamp": started[0] if started else EPOCH,
        "hostname": "localhost",
        "tests": str(len(suite.cases)),
        "failures": str(count[Says.BAD]),
        "errors": str(count[Says.DOUBT]),
        "skipped": str(count[Says.NOTED]),
        "time": f"{suite.duration_s:.3f}",
    }
    facts = "".join(f"      {_tag('property', {'name': name, 'value': value})}\n" for name, value in suite.facts)
    return (
        f"  {_tag('testsuite', attributes, close=False)}\n    <properties>\n{facts}    </properties>\n"
        + "".join(_case(suite, case) for case in suite.cases)
        + f"    <system-out>{_text(suite.summary)}</system-out>\n    <system-err></system-err>\n  </testsuite>\n"
    )


def _case(suite: Suite, case: Case) -> str:
    attributes = {"name": case.name, "classname": f"poolctl.{suite.name}.{case.group}", "time": "0"}
    if case.says is Says.GOOD:
        return f"    {_tag('testcase', attributes)}\n"
    element = ELEMENTS[case.says]
    said = {"message": case.message} if case.says is Says.NOTED else {"message": case.message, "type": case.says.value}
    inside = _tag(element, said, close=False)
    return (
        f"    {_tag('testcase', attributes, close=False)}\n      {inside}{_text(case.detail)}</{element}>\n"
        "    </testcase>\n"
    )


def _tag(element: str, attributes: dict[str, str], *, close: bool = True) -> str:
    said = "".join(f" {key}={quoteattr(_plain(value))}" for key, value in attributes.items())
    return f"<{element}{said}/>" if close else f"<{element}{said}>"


def _text(text: str) -> str:
    return escape(_plain(text))


def _plain(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
