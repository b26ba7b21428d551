"""Laws of the formats: whatever a report holds, it is rendered, whole, within its width, and JSON gives it back."""

from __future__ import annotations

import dataclasses
import json
import re

import html5lib
import sample_reports
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from poolctl.report import render
from poolctl.trace.report import (
    Dist,
    Finding,
    ObjectiveResult,
    Outcome,
    PoolInfo,
    PoolPoint,
    PoolSettings,
    Report,
    SiteRow,
    Times,
)

UNSHRUNK = (Phase.explicit, Phase.generate)  # a whole report takes minutes to shrink

words = st.text(st.sampled_from("ab[]*_|<`\\/:.=é ×→漢"), min_size=1, max_size=60).map(lambda text: f"x{text.strip()}x")
seconds = st.one_of(st.none(), st.floats(0, 1e5, allow_nan=False))
counts = st.integers(0, 10**7)
dists = st.builds(
    Dist,
    count=counts,
    **dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "max"), seconds),
    ci95_p95=st.one_of(st.none(), st.tuples(st.floats(0, 10), st.floats(0, 10))),
)
pools = st.builds(
    PoolSettings,
    pool_size=st.one_of(st.none(), st.integers(0, 500)),
    max_overflow=st.one_of(st.none(), st.integers(-1, 500)),
    pool_timeout_s=seconds,
    pool_recycle_s=st.one_of(st.none(), st.just(-1.0), st.floats(1, 1e4)),
    pre_ping=st.one_of(st.none(), st.booleans()),
    lifo=st.one_of(st.none(), st.booleans()),
)
points = st.builds(
    PoolPoint,
    at_s=st.integers(0, 100_000).map(lambda tenth: tenth / 10),  # slices have a length
    **dict.fromkeys(("arrivals", "checked_out", "overflow", "waiting", "timed_out"), st.integers(0, 600)),
    mean_checked_out=st.floats(0, 600),
    p95_wait_s=seconds,
)
sites = st.builds(
    SiteRow,
    site=words,
    context=st.one_of(st.none(), words),
    leases=counts,
    hold_time_s=dists,
    **dict.fromkeys(("hold_share", "sql_share"), st.one_of(st.none(), st.floats(0, 1))),
    wait_caused_s=seconds,
)
findings = st.builds(
    Finding,
    **dict.fromkeys(("code", "slug", "title", "advice"), words),
    confidence=st.sampled_from(["low", "medium", "high"]),
    **dict.fromkeys(("evidence", "sites"), st.lists(words)),
)
results = st.builds(
    ObjectiveResult,
    objective=st.sampled_from(["p95 wait < 50ms", "rate timeouts < 0.1%", "rate timeouts < 2/min", "count leaks == 0"]),
    value=seconds,
    ci=st.one_of(st.none(), st.tuples(st.floats(0, 1), st.floats(0, 1))),
    verdict=st.sampled_from(list(Outcome)),
    reason=st.one_of(st.just(""), words),
)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """A report with anything in the parts that formats lay out."""
    base = draw(st.sampled_from([sample_reports.too_small(), sample_reports.quiet()]))
    changes: dict[str, object] = {
        "summary": draw(words),
        "exit_code": draw(st.sampled_from([0, 1, 3, 4, 130])),
        "times": Times(*(draw(dists) for _ in range(8)), response_time_s=draw(st.one_of(st.none(), dists))),
        "pool": PoolInfo(
            *(draw(counts) for _ in range(3)),
            draw(st.floats(0, 500)),
            draw(st.one_of(st.none(), st.floats(0, 1))),
            draw(seconds),
            sorted(draw(st.lists(points, max_size=20, unique_by=lambda p: p.at_s)), key=lambda p: p.at_s),
        ),
        "sites": draw(st.lists(sites, max_size=15)),
        "findings": draw(st.lists(findings, max_size=3)),
        "objectives": draw(st.lists(results, max_size=4)),
        "target": dataclasses.replace(base.target, settings=draw(pools)),
        "evidence": draw(st.lists(words, max_size=3)),
    }
    if base.sizing is not None:
        best = draw(st.one_of(st.none(), pools))
        changes["sizing"] = dataclasses.replace(base.sizing, recommended=best, reason=draw(words))
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None, phases=UNSHRUNK, suppress_health_check=[HealthCheck.too_slow])
@given(report=reports(), width=st.integers(70, 220))
def test_any_report_is_rendered_within_its_width(report: Report, width: int) -> None:
    text = render(report, "console", width=width, color=False)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert [line for line in lines[:-1] if cell_len(line) > width and "=" not in line] == []
    assert lines[0].startswith(report.summary[: width // 2 - 2].split(" ")[0])


@settings(max_examples=30, deadline=None, phases=UNSHRUNK, suppress_health_check=[HealthCheck.too_slow])
@given(report=reports())
def test_any_report_survives_its_json(report: Report) -> None:
    assert Report.from_json(json.loads(render(report, "json"))) == report


@settings(max_examples=30, deadline=None, phases=UNSHRUNK, suppress_health_check=[HealthCheck.too_slow])
@given(report=reports())
def test_every_row_of_a_markdown_table_has_the_cells_of_its_head(report: Report) -> None:
    columns = 0
    for line in render(report, "markdown").splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1 if line.startswith("|") else 0
        assert not (columns and cells and cells != columns), line
        columns = cells


@settings(max_examples=8, deadline=None, phases=UNSHRUNK, suppress_health_check=[HealthCheck.too_slow])
@given(report=reports())
def test_any_report_is_a_page_that_a_strict_parser_accepts(report: Report) -> None:
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(render(report, "html"))
    assert len(tree.findall(".//section")) >= 3
