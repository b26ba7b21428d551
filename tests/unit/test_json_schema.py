"""The JSON documents fit the schemas that poolctl ships, and those are what the records say."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest
import sample_reports
from gate_simulation import Side, sides

from poolctl.analysis.compare import compare
from poolctl.report import render, render_comparison
from poolctl.trace.schema import DIRECTORY, DOCUMENTS, text_of

REPORT, COMPARISON = (jsonschema.Draft202012Validator(json.loads((DIRECTORY / name).read_text())) for name in DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_shipped_schema_is_that_of_the_records(name: str) -> None:
    """`python -m poolctl.trace.schema` writes the files anew."""
    assert (DIRECTORY / name).read_text() == text_of(name)
    jsonschema.Draft202012Validator.check_schema(json.loads(text_of(name)))


@pytest.mark.parametrize("make", [sample_reports.too_small, sample_reports.quiet])
def test_reports_fit(make: object) -> None:
    REPORT.validate(json.loads(render(make(), "json")))  # type: ignore[operator]


@pytest.mark.parametrize("head", [Side(0.7, hold=1.3, leaks=1), Side(0.7, requests=40), Side(0.7)])
def test_comparisons_fit(head: Side) -> None:
    COMPARISON.validate(json.loads(render_comparison(compare(*sides(Side(0.7), head, 3, 2)), "json")))


def test_what_does_not_fit_is_refused() -> None:
    good = json.loads(render(sample_reports.too_small(), "json"))
    for path, value in (
        (("exit_code",), "1"),
        (("schema",), "poolctl.report/2"),
        (("times", "wait_time_s", "p95"), "x"),
    ):
        bad = copy.deepcopy(good)
        place = bad
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        assert not REPORT.is_valid(bad)
    del good["verdict"]
    assert not REPORT.is_valid(good)
