"""The clinic: applications whose illness is known, run for real under `poolctl diagnose`; each gets its verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from clinic import Chart, Clinic

from poolctl.target.embedded import EmbeddedPostgres


@dataclass(frozen=True)
class Expected:
    """What the report must say of a patient, and what it must not."""

    verdict: str
    at: str = ""
    """The line that the verdict or its next step must name, by its mark."""
    fires: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    ways: tuple[str, ...] = ("async", "sync")


LEAK, IDLE, NESTED, LOOP = "PC101", "PC302", "PC601", "PC602"
PATIENTS = {
    "healthy": Expected("healthy"),
    "hot_but_healthy": Expected("healthy"),
    "too_small": Expected("too small", never=(LEAK, IDLE, NESTED)),
    "burst": Expected("too small", never=(LEAK, NESTED)),
    "leaking": Expected("leaking", at="export", fires=(LEAK,), never=(NESTED, LOOP)),
    "leak_in_a_small_pool": Expected("leaking", at="export", fires=(LEAK,), never=(NESTED, LOOP)),
    "held_idle": Expected("held idle", at="checkout", fires=(IDLE,), never=(LEAK, NESTED)),
    "database_slow": Expected("database slow", at="orders", never=(LEAK, IDLE, NESTED)),
    "slow_query": Expected("database slow", at="report", never=(LEAK, IDLE, NESTED)),
    "lock_bound": Expected("lock-bound", at="count", never=(LEAK, IDLE, NESTED), ways=("async", "sync", "sync blind")),
    "lock_queue": Expected("lock-bound", at="migration", never=(LEAK, NESTED)),
    "blocked_loop": Expected("starved", at="render", fires=(LOOP,), never=(LEAK, NESTED), ways=("async",)),
    "sync_in_loop": Expected("starved", at="orders", fires=("PC606",), never=(LEAK, NESTED), ways=("async",)),
    "busy_interpreter": Expected("starved", fires=("PC607",), never=(LEAK, NESTED), ways=("sync",)),
    "small_executor": Expected("starved", at="orders", fires=("PC608",), never=(LEAK, NESTED), ways=("sync",)),
    "nested": Expected("nested checkouts", at="inner", fires=(NESTED,), never=(LEAK,)),
    "nested_for_good": Expected("nested checkouts", at="inner", fires=(NESTED,), never=(LEAK,)),
    "misconfigured": Expected("misconfigured", fires=("PC403",)),
    "oversized": Expected("oversized", fires=("PC205",)),
    "hardly_used": Expected("cannot tell"),
}
LINES = 40
"""Of the first screen, at most, before the details begin."""
CASES = [(name, way) for name, expected in PATIENTS.items() for way in expected.ways]
pytestmark = pytest.mark.server


@pytest.fixture(scope="session")
def clinic(
    request: pytest.FixtureRequest, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Clinic]:
    """The patients of the tests that were selected."""
    wanted = [
        (item.callspec.params["name"], item.callspec.params["way"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and "chart" in item.fixturenames
    ]
    with Clinic(postgres.url, tmp_path_factory.mktemp("clinic"), wanted) as clinic:
        yield clinic


@pytest.fixture
def chart(clinic: Clinic, name: str, way: str) -> Chart:
    """What poolctl said of the patient."""
    return clinic.chart(name, way)


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_patient_gets_its_verdict_and_no_other_s(chart: Chart, name: str, way: str) -> None:
    expected = PATIENTS[name]
    assert chart.stderr == ""
    assert chart.report["verdict"] == expected.verdict, f"\n{chart}"
    assert not chart.findings.keys() & set(expected.never), f"\n{chart}"
    assert set(expected.fires) <= chart.findings.keys(), f"\n{chart}"
    assert expected.at == "" or chart.report["culprits"][0].startswith(f"{chart.line(expected.at)} "), f"\n{chart}"
    if expected.verdict == "healthy":
        assert set(chart.findings.values()) <= {"info"}, f"\n{chart}"


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_verdict_has_its_numbers_its_evidence_and_one_next_step_on_one_screen(
    chart: Chart, name: str, way: str
) -> None:
    report = chart.report
    first = chart.screen[: chart.screen.index("") if report["verdict"] == "cannot tell" else LINES]
    assert " ".join(chart.screen).startswith(report["summary"]), "the first line is the verdict"
    assert any(line.startswith("Where the time went") for line in chart.screen[:LINES]), f"\n{chart}"
    assert max(map(len, chart.screen)) <= 80
    assert any(character.isdigit() for character in report["summary"]) or name == "misconfigured"
    assert report["confidence"] in ("low", "medium", "high")
    assert report["next_step"]
    assert "\n".join(first).count("  next  ") == 1
    if PATIENTS[name].at:
        assert chart.line(PATIENTS[name].at) in report["next_step"], "with the line of code"
    if report["verdict"] not in ("cannot tell", "misconfigured"):
        said = " ".join(report["evidence"])
        assert all(f"{word}: " in said for word in ("leaks", "nested checkouts", "database", "held idle")), said
        assert all(lease["hold_time_s"] > 0 and lease["site"] for lease in report["long_leases"])
        assert report["long_leases"]


def test_ctrl_c_ends_the_window_early_and_the_first_line_is_still_the_verdict(clinic: Clinic) -> None:
    chart = clinic.interrupt("endless", "async", records=400)
    assert chart.code == 130
    assert chart.stderr == ""
    assert chart.screen[0].startswith("Interrupted after ")
    assert "until then: connections are held idle: " in " ".join(chart.screen[:3])
    assert chart.report["verdict"] == "held idle"
