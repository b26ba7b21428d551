"""HTML: one file that a strict parser accepts, that loads nothing, and in which a text stays a text."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path

import html5lib
import pytest
import sample_reports
from gate_simulation import Side, sides

from poolctl.analysis.compare import compare
from poolctl.cli.output import Output
from poolctl.errors import UsageError
from poolctl.report import render, render_all, render_comparison
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Report

EVIL = "</td></svg><script>alert(1)</script>\"'><img src=x onerror=alert(2)> $\\frac{a}{b}$ & \x00\x1b[1m\ud800"


def worse() -> Comparison:
    return compare(*sides(Side(0.7), Side(0.7, hold=1.3, statements=4), 4, 2))


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    small, quiet = sample_reports.too_small(), sample_reports.quiet()
    return {
        "small": render(small, "html"),
        "quiet": render(quiet, "html"),
        "both": render_all([small, quiet], "html"),
        "size": render(dataclasses.replace(small, command="size"), "html"),
        "compare": render_comparison(worse(), "html"),
        "evil": render(evil(), "html"),
        "evil compare": render_comparison(evil_comparison(), "html"),
    }


def evil() -> Report:
    """A report in which every name that comes from outside tries to be markup."""
    report = sample_reports.too_small()
    sites = [dataclasses.replace(row, site=f"a.py:1 {EVIL}", context=EVIL) for row in report.sites[:1]]
    sites += [dataclasses.replace(report.sites[1], site=f"b.py:1 {EVIL}", context=None)]
    findings = [
        dataclasses.replace(finding, title=EVIL, evidence=[EVIL], advice=EVIL, sites=[EVIL])
        for finding in report.findings
    ]
    objectives = [dataclasses.replace(report.objectives[0], reason=EVIL)]
    run = dataclasses.replace(report.run, scenario=EVIL, id=EVIL)
    return dataclasses.replace(
        report, sites=sites, findings=findings, objectives=objectives, run=run, summary=EVIL, evidence=[EVIL]
    )


def evil_comparison() -> Comparison:
    made = worse()
    against = made.scenarios[0]
    rows = [dataclasses.replace(row, name=EVIL, reason=EVIL) for row in against.measures]
    against = dataclasses.replace(against, scenario=EVIL, measures=rows, notes=[EVIL], left_out=[EVIL])
    return dataclasses.replace(made, scenarios=[against], base=EVIL, head=EVIL, summary=EVIL, foreign=[EVIL])


NAMES = ["small", "quiet", "both", "size", "compare", "evil", "evil compare"]


@pytest.mark.parametrize("name", NAMES)
def test_a_strict_parser_accepts_the_page_and_every_link_has_its_target(pages: dict[str, str], name: str) -> None:
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(pages[name])
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert sorted(ids) == sorted(set(ids))
    targets = re.findall(r'href="#([^"]+)"', pages[name]) + re.findall(r"url\(#([^)]+)\)", pages[name])
    assert set(targets) - set(ids) == set()
    assert tree.find(".//main") is not None


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_loaded_from_anywhere_and_there_is_no_script(pages: dict[str, str], name: str) -> None:
    tree = html5lib.parse(pages[name], namespaceHTMLElements=False)
    tags = {str(element.tag).rpartition("}")[2] for element in tree.iter()}
    assert tags & {"script", "link", "img", "iframe", "object", "embed", "image", "foreignObject", "base"} == set()
    for element in tree.iter():
        assert not [key for key in element.keys() if str(key).lower().startswith("on")]  # noqa: SIM118 - an element
        for key in ("href", "{http://www.w3.org/1999/xlink}href", "src"):
            assert (element.get(key) or "#").startswith("#")
    assert "@import" not in pages[name]
    assert re.findall(r"url\((?!#)", pages[name]) == []


@pytest.mark.parametrize("name", ["evil", "evil compare"])
def test_a_name_that_looks_like_markup_is_shown_as_it_is(pages: dict[str, str], name: str) -> None:
    tree = html5lib.parse(pages[name], namespaceHTMLElements=False)
    shown = "".join(tree.itertext())
    assert shown.count("<script>alert(1)</script>") >= 4
    assert "<script" not in pages[name]
    assert "<img" not in pages[name]


def test_the_verdict_comes_first(pages: dict[str, str]) -> None:
    tree = html5lib.parse(pages["small"], namespaceHTMLElements=False)
    assert "".join(tree.find(".//main/header/h1").itertext()) == sample_reports.too_small().summary
    assert tree.find(".//main")[0].tag == "header"


def test_the_pictures_are_there_and_take_their_colours_from_the_page(pages: dict[str, str]) -> None:
    tree = html5lib.parse(pages["small"], namespaceHTMLElements=False)
    titles = [e.get("aria-label") for e in tree.iter() if str(e.tag).rpartition("}")[2] == "svg"]
    assert [title.split(":")[0].split(",")[0] for title in titles] == [
        "Hold time by transaction and site",
        "The pool over time",
        "Predicted p95 wait and response time and share of time-outs at each pool size",
    ]
    body = pages["small"].partition("</style>")[2]
    assert re.findall(r"(?:fill|stroke): #", body) == []
    assert "stroke: var(--held)" in body


def test_a_report_in_a_file_that_ends_in_html_is_html(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = Output.plan("json", [str(tmp_path / "out.html")], force=False)
    output.deliver([sample_reports.quiet()])
    assert (tmp_path / "out.html").read_text().startswith("<!DOCTYPE html>")
    assert capsys.readouterr().out.startswith("{")


def test_without_matplotlib_it_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    for kind, files in (("html", []), ("console", ["out.html"])):
        with pytest.raises(UsageError) as error:
            Output.plan(kind, files, force=False)
        assert error.value.message == "HTML needs matplotlib, which is not installed"
        assert error.value.hint == "pip install 'poolctl[html]'"
    Output.plan("json", [], force=False)
