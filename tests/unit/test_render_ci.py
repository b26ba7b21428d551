"""What CI reads: JUnit XML by its schema, GitHub's commands, OpenMetrics by its own parser."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import sample_reports
from gate_simulation import Side, sides
from lxml import etree
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from poolctl.analysis.compare import compare
from poolctl.analysis.findings import REGISTRY
from poolctl.report import COMPARISONS, FORMATS, render, render_all, render_comparison
from poolctl.report.github import command
from poolctl.trace.comparison import Comparison, Role
from poolctl.trace.report import Outcome, Report

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parents[1] / "schemas" / "junit.xsd"))


def failed() -> Comparison:
    return compare(*sides(Side(0.7), Side(0.7, hold=1.3, leaks=1), 4, 2))


def unclear() -> Comparison:
    return compare(*sides(Side(0.9), Side(0.9), 2, 2))


def passed() -> Comparison:
    return compare(*sides(Side(0.6), Side(0.6), 6, 2))


COMPARED = {"failed": failed, "unclear": unclear, "passed": passed}
REPORTS = {"too_small": sample_reports.too_small, "quiet": sample_reports.quiet}


def xml(text: str) -> etree._Element:
    tree = etree.fromstring(text.encode())
    SCHEMA.assertValid(tree)
    for suite in tree:
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
        for attribute, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(attribute)) == len(suite.findall(f"testcase/{element}"))
    return tree


@pytest.mark.parametrize("make", [*REPORTS.values(), *COMPARED.values()])
def test_junit_fits_the_schema_and_counts_right(make: object) -> None:
    made = make()  # type: ignore[operator]
    xml(render(made, "junit") if isinstance(made, Report) else render_comparison(made, "junit"))


def test_junit_has_a_case_for_each_objective_and_each_rule() -> None:
    report = sample_reports.too_small()
    tree = xml(render(report, "junit"))
    names = [case.get("name") for case in tree.iter("testcase")]
    assert names[: len(report.objectives)] == [result.objective for result in report.objectives]
    assert {name.split()[0] for name in names} >= set(REGISTRY)
    outcome = {case.get("name"): [child.tag for child in case] for case in tree.iter("testcase")}
    expected = {Outcome.FAIL: ["failure"], Outcome.INCONCLUSIVE: ["error"], Outcome.PASS: []}
    assert [outcome[result.objective] for result in report.objectives] == [
        expected[result.verdict] for result in report.objectives
    ]


def test_a_finding_is_a_failure_only_where_the_gate_asked_for_it() -> None:
    report = sample_reports.too_small()
    found = {finding.code: finding.severity for finding in report.findings}
    for fail_on in (None, "info", "error"):
        tree = xml(render(dataclasses.replace(report, fail_on=fail_on), "junit"))
        failures = {case.get("name").split()[0] for case in tree.iter("testcase") if case.find("failure") is not None}
        rank = {"info": 0, "error": 2}.get(fail_on or "", 9)
        assert failures & set(REGISTRY) == {code for code, severity in found.items() if severity.rank >= rank}


def test_characters_that_xml_does_not_know_do_no_harm() -> None:
    report = dataclasses.replace(sample_reports.quiet(), summary='a\x00b\x1b[1m <&"> \ud800')
    assert 'a�b�[1m <&"> �' in "".join(xml(render(report, "junit")).itertext())


def test_a_comparison_in_junit_leaves_advisory_measures_out() -> None:
    made = failed()
    names = {case.get("name") for case in xml(render_comparison(made, "junit")).iter("testcase")}
    assert names == {row.name for row in made.scenarios[0].measures if row.role is not Role.ADVISORY}
    unsure = xml(render_comparison(unclear(), "junit"))
    assert any(case.find("error") is not None for case in unsure.iter("testcase"))


COMMAND = re.compile(r"::(error|warning|notice) title=[^:,\n]*::[^\n]+")


@pytest.mark.parametrize("make", [*REPORTS.values(), *COMPARED.values()])
def test_github_gets_commands_the_verdict_first_and_ten_of_a_kind_at_most(make: object) -> None:
    made = make()  # type: ignore[operator]
    text = render(made, "github") if isinstance(made, Report) else render_comparison(made, "github")
    lines = text.splitlines()
    commands = [line for line in lines if line.startswith("::")]
    assert all(COMMAND.fullmatch(line) for line in commands)
    assert commands[0].startswith("::notice " if made.exit_code == 0 else "::error ")
    for kind in ("error", "warning", "notice"):
        assert sum(line.startswith(f"::{kind} ") for line in commands) <= 10
    assert all(line.startswith("::") for line in lines[:-1])


def test_github_escapes_what_would_end_a_command() -> None:
    assert command("error", "a: b, c", "50 %\nx") == "::error title=a%3A b%2C c::50 %25%0Ax"


@pytest.mark.parametrize("make", [*REPORTS.values(), *COMPARED.values()])
def test_openmetrics_is_read_by_its_parser(make: object) -> None:
    made = make()  # type: ignore[operator]
    text = render(made, "openmetrics") if isinstance(made, Report) else render_comparison(made, "openmetrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (code,) = families["poolctl_exit_code"].samples
    assert code.value == made.exit_code
    if isinstance(made, Report):
        (requests,) = families["poolctl_requests"].samples
        assert requests.value == made.leases.total
        waits = {
            sample.labels["quantile"]: sample.value
            for sample in getattr(families.get("poolctl_wait_time_seconds"), "samples", [])
        }
        assert waits.get("0.95") == made.times.wait_time_s.p95
    else:
        changes = {sample.labels["measure"]: sample.value for sample in families["poolctl_change_ratio"].samples}
        row = next(row for row in made.scenarios[0].measures if row.role is Role.PRIMARY)
        assert changes["p95 response"] == row.ratio


def test_labels_with_quotes_and_backslashes_survive() -> None:
    report = sample_reports.quiet()
    report = dataclasses.replace(report, run=dataclasses.replace(report.run, scenario='a"b\\c\nd'))
    families = list(text_string_to_metric_families(render(report, "openmetrics")))
    assert families[0].samples[0].labels["scenario"] == 'a"b\\c\nd'


def test_a_comparison_can_be_written_in_every_format_of_a_report() -> None:
    assert set(COMPARISONS) == set(FORMATS)
    made = failed()
    for kind in COMPARISONS:
        assert render_comparison(made, kind).endswith("\n")
    assert render_comparison(made, "console", width=100).splitlines()[0].startswith("Worse: queue: leaks 0 → 4")
    assert render_comparison(made, "markdown").startswith("❌ **Worse: queue: leaks 0 → 4")


def test_several_runs_are_one_document_in_the_formats_of_ci() -> None:
    small, quiet = sample_reports.too_small(), sample_reports.quiet()
    again = dataclasses.replace(small, run=dataclasses.replace(small.run, id="20251121-030000-ffff"))
    tree = xml(render_all([small, quiet], "junit"))
    assert [suite.get("name") for suite in tree] == [small.run.scenario, quiet.run.scenario or quiet.command]
    families = {f.name: f for f in text_string_to_metric_families(render_all([small, quiet, again], "openmetrics"))}
    codes = {(s.labels["scenario"], s.labels.get("run")): s.value for s in families["poolctl_exit_code"].samples}
    assert codes[(small.run.scenario, small.run.id)] == codes[(small.run.scenario, again.run.id)] == small.exit_code
    assert len(codes) == 3
