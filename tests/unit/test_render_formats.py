"""Every format renders every report; the golden files pin what it looks like."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import sample_reports
from rich.cells import cell_len

from poolctl.errors import UsageError
from poolctl.report import ENDINGS, FORMATS, format_of, render
from poolctl.trace.report import PoolSettings, Report

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = [
    ("too_small", "console", 80),
    ("too_small", "console", 200),
    ("too_small", "markdown", 100),
    ("too_small", "json", 100),
    ("quiet", "console", 80),
    ("quiet", "markdown", 100),
    ("quiet", "json", 100),
    ("too_small", "junit", 100),
    ("too_small", "github", 100),
    ("too_small", "openmetrics", 100),
]
SUFFIX = {kind: ending for ending, kind in reversed(ENDINGS.items())}
REPORTS = {"too_small": sample_reports.too_small, "quiet": sample_reports.quiet}


@pytest.mark.parametrize(("name", "kind", "width"), CASES)
def test_a_report_looks_as_its_golden_file_says(name: str, kind: str, width: int) -> None:
    """Set POOLCTL_WRITE_GOLDEN=1 to write the files anew, then read the difference."""
    golden = GOLDEN / f"{name}-{width}{SUFFIX[kind]}"
    text = render(REPORTS[name](), kind, width=width, color=False)
    if os.environ.get("POOLCTL_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_every_format_has_a_golden_file() -> None:
    # The pictures in HTML are matplotlib's, and another version draws them otherwise: test_render_html reads the page.
    assert {kind for _, kind, _ in CASES} | {"html"} == set(FORMATS) == set(SUFFIX)


@pytest.mark.parametrize("kind", ["console", "markdown", "json"])
@pytest.mark.parametrize("name", REPORTS)
def test_the_verdict_comes_first_in_every_format_for_people(name: str, kind: str) -> None:
    report = REPORTS[name]()
    text = render(report, kind, width=500)
    first = json.loads(text)["summary"] if kind == "json" else text.splitlines()[0].strip("*")
    assert first == report.summary


@pytest.mark.parametrize("name", REPORTS)
def test_the_json_document_gives_the_report_back(name: str) -> None:
    report = REPORTS[name]()
    assert Report.from_json(json.loads(render(report, "json"))) == report


def test_json_has_null_where_a_number_is_not_finite() -> None:
    report = dataclasses.replace(
        sample_reports.quiet(), run=dataclasses.replace(sample_reports.quiet().run, duration_s=float("nan"))
    )
    assert json.loads(render(report, "json"))["run"]["duration_s"] is None


@pytest.mark.parametrize("width", [60, 80, 100, 119, 120, 200, 300])
@pytest.mark.parametrize("name", REPORTS)
def test_no_line_of_the_console_report_is_wider_than_asked_but_the_command_to_copy(name: str, width: int) -> None:
    lines = render(REPORTS[name](), "console", width=width).splitlines()
    assert [line for line in lines[:-1] if cell_len(line) > width] == []


def test_plain_text_holds_no_escape_sequence_and_colour_adds_nothing_but_them() -> None:
    import re

    plain = render(sample_reports.too_small(), "console", width=100, color=False)
    coloured = render(sample_reports.too_small(), "console", width=100, color=True)
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()


@pytest.mark.parametrize("variable", ["NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM"])
def test_the_environment_does_not_change_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    report = sample_reports.too_small()
    before = [render(report, "console", width=90, color=color) for color in (False, True)]
    monkeypatch.setenv(variable, "1")
    assert [render(report, "console", width=90, color=color) for color in (False, True)] == before


def test_a_quantile_without_support_is_a_dash() -> None:
    rows = [line for line in render(sample_reports.quiet(), "console", width=80).splitlines() if "hold " in line]
    assert rows[0].split()[-5:] == ["—", "—", "20.0", "ms", "12"]


def test_the_block_to_paste_is_python_that_says_what_is_recommended() -> None:
    text = render(sample_reports.too_small(), "markdown")
    block = text.split("```python\n")[1].split("```")[0]
    said: dict[str, object] = {}
    exec(block, {"create_async_engine": lambda url, **settings: said.update(settings), "url": ""})  # noqa: S102 - the block is ours, and is to run
    assert said == {"pool_size": 14, "max_overflow": 2, "pool_timeout": 5, "pool_recycle": 1800}


def test_the_block_to_paste_says_what_stays_and_leaves_out_switches_that_do() -> None:
    report = sample_reports.too_small()
    assert report.sizing
    best = PoolSettings(5, 0, 0.25, -1.0, pre_ping=True, lifo=False)
    report = dataclasses.replace(report, sizing=dataclasses.replace(report.sizing, recommended=best))
    text = render(report, "console", width=100)
    lines = {line.split("=")[0].strip(): line for line in text.splitlines() if line.startswith("      ")}
    assert "pool_size=5, " in lines["pool_size"]
    assert lines["pool_size"].endswith("# as today")
    assert "pool_timeout=0.25," in lines["pool_timeout"]
    assert "pool_pre_ping=True, " in lines["pool_pre_ping"]
    assert lines["pool_pre_ping"].endswith("# today False")
    assert lines["pool_recycle"].endswith("# today never")
    assert "pool_use_lifo" not in lines


def test_a_bar_or_a_star_in_a_text_does_not_break_the_markdown_table() -> None:
    report = sample_reports.too_small()
    site = dataclasses.replace(report.sites[0], context="a|b*c")
    text = render(dataclasses.replace(report, sites=[site]), "markdown")
    assert "| a\\|b\\*c |" in text


def test_a_format_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(UsageError) as error:
        render(sample_reports.quiet(), "pdf")
    assert error.value.message == "no format 'pdf'"
    assert error.value.hint == f"the formats are {', '.join(FORMATS)}"


@pytest.mark.parametrize(("file", "kind"), [("a.json", "json"), ("a.MD", "markdown"), ("b/a.txt", "console")])
def test_the_ending_of_a_file_names_its_format(file: str, kind: str) -> None:
    assert format_of(Path(file)) == kind


@pytest.mark.parametrize("file", ["report", "report.pdf", "a.csv"])
def test_an_ending_that_names_no_format_is_refused(file: str) -> None:
    with pytest.raises(UsageError, match=r"cannot write a report to .*: .* format"):
        format_of(Path(file))


@pytest.mark.parametrize(("compiled", "said"), [(True, False), (None, False), (False, True)])
def test_that_capture_ran_as_plain_python_is_said_where_it_did(compiled: bool | None, said: bool) -> None:
    report = sample_reports.quiet()
    report = dataclasses.replace(report, capture=dataclasses.replace(report.capture, compiled=compiled))
    assert ("not compiled" in render(report, "console", width=200)) is said
    assert ("not compiled" in render(report, "markdown", width=200)) is said
