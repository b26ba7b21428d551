"""One run behind a known database, taken apart, predicts what that database does at other sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from database_cases import Truth, app_bound, cpu_bound, lock_bound
from sizing_cases import Tables, bursts, poisson, settings

from poolctl.analysis.cores import estimate_cores
from poolctl.analysis.demand import Recorded, read_demand
from poolctl.analysis.engines import Structural, choose, constant
from poolctl.analysis.pool_model import Rules
from poolctl.analysis.sizing import recommend
from poolctl.analysis.structure import Structure, fit
from poolctl.trace.report import ServerInfo

TWO_CORES = ServerInfo("18", 100, 3, 0, 2)


def recorded(truth: Truth, size: int) -> tuple[Recorded, Tables]:
    tables = truth.tables(Rules(size, 0, 1.0))
    demand = read_demand(tables.leases, tables.operations)
    assert demand is not None
    return demand, tables


def taken_apart(truth: Truth, size: int, cores: float | None = 2) -> tuple[Recorded, Structure]:
    demand, tables = recorded(truth, size)
    structure = fit(demand, tables.statements, cores)
    assert structure is not None
    return demand, structure


def error(predicted: float, true: float) -> float:
    return abs(math.log((predicted + 0.005) / (true + 0.005)))


def p95(truth: Truth, size: int) -> float:
    return float(np.quantile(truth.run(Rules(size, 0, 1.0))[0].wait_s, 0.95))


CASES = {
    "application-bound": app_bound(poisson(150, 30, 3), 5),
    "CPU-bound": cpu_bound(poisson(170, 30, 3), 5),
    "row lock": lock_bound(poisson(120, 30, 3), 5),
    "row lock in bursts": lock_bound(bursts(30, 3, 60, 170), 5),
}


@pytest.mark.parametrize("size", [3, 25])
@pytest.mark.parametrize("name", CASES)
def test_the_waits_at_other_sizes_are_predicted_from_a_roomy_and_from_a_starved_run(name: str, size: int) -> None:
    truth = CASES[name]
    demand, structure = taken_apart(truth, size)
    engine = Structural(structure)
    for other in (2, 4, 6, 8):
        predicted = float(np.quantile(engine(demand.demands, Rules(other, 0, 1.0))[0].wait_s, 0.95))
        assert error(predicted, p95(truth, other)) < 0.05, other


@pytest.mark.parametrize("name", ["CPU-bound", "row lock"])
def test_constant_holds_would_be_wrong_there_in_either_direction(name: str) -> None:
    truth = CASES[name]
    roomy, starved = recorded(truth, 25)[0], recorded(truth, 3)[0]
    true = p95(truth, 4)
    assert np.quantile(constant(roomy.demands, Rules(4, 0, 1.0))[0].wait_s, 0.95) > 2 * true
    assert np.quantile(constant(starved.demands, Rules(4, 0, 1.0))[0].wait_s, 0.95) < true / 1.5


def test_the_lock_is_found_at_its_site_and_statement_and_nowhere_else() -> None:
    _, structure = taken_apart(CASES["row lock"], 25)
    assert [(station.place, station.observed) for station in structure.stations] == [(0, 0)]
    assert structure.stations[0].expected > 100
    for name in ("application-bound", "CPU-bound"):
        assert taken_apart(CASES[name], 25)[1].stations == []
        assert taken_apart(CASES[name], 1)[1].stations == [], "a pool of one lets nobody pass either"


def test_the_cores_are_estimated_where_the_run_saturates_them_and_unknown_where_not() -> None:
    _, crowded = taken_apart(CASES["CPU-bound"], 25, cores=None)
    assert crowded.cores_known == "estimated"
    assert crowded.database.cores == pytest.approx(2, rel=0.2)
    _, calm = taken_apart(CASES["application-bound"], 25, cores=None)
    assert calm.cores_known == "unknown"
    assert math.isinf(calm.database.cores)


def test_too_little_concurrency_estimates_no_cores() -> None:
    assert estimate_cores(np.arange(100.0), np.arange(100.0) + 0.5) is None


def test_slower_sql_stretches_the_work_and_nothing_else() -> None:
    _, structure = taken_apart(CASES["application-bound"], 25)
    programs, _ = structure.scaled(1.5)
    before, after = structure.programs.steps, programs.steps
    first = structure.programs.first[0]
    assert after[first + 1] == pytest.approx(1.5 * before[first + 1])
    np.testing.assert_array_equal(after[first::5], before[first::5])
    work = structure.sql_share * before.sum()
    assert after.sum() - before.sum() == pytest.approx(0.5 * work)


def test_constant_holds_are_used_where_holds_do_not_depend_on_concurrency_and_only_there() -> None:
    for name, expected in (("application-bound", constant), ("CPU-bound", None), ("row lock", None)):
        demand, tables = recorded(CASES[name], 8)
        engine, _, _ = choose(demand, tables.statements, Rules(8, 0, 1.0), 2)
        assert (engine is constant) == (expected is constant), name


@pytest.mark.parametrize("size", [3, 25])
def test_the_recommendation_is_right_or_one_over_from_a_roomy_and_a_starved_run(size: int) -> None:
    for name in ("CPU-bound", "row lock"):
        truth = CASES[name]
        smallest = next(
            count
            for count in range(1, 40)
            if p95(truth, count) < 0.05 and truth.run(Rules(count, 0, 1.0))[0].timeout_rate < 0.001
        )
        _, tables = recorded(truth, size)
        sizing = recommend(tables, settings(Rules(size, 0, 1.0)), server=TWO_CORES)
        assert sizing.model == "database"
        assert f": {smallest} meets the objective" in sizing.reason, (name, sizing.reason)
        assert sizing.recommended is not None
        assert smallest <= (sizing.recommended.pool_size or 0) <= smallest + 3


def test_no_pool_size_fixes_a_database_that_is_asked_for_more_than_it_can_do() -> None:
    truth = cpu_bound(poisson(260, 30, 3), 5)
    for size in (3, 25):
        sizing = recommend(recorded(truth, size)[1], settings(Rules(size, 0, 1.0)), server=TWO_CORES)
        assert sizing.recommended is None
        assert sizing.reason.startswith("no pool size fixes this")
        assert sizing.backtest is not None


def test_no_pool_size_fixes_a_row_that_is_wanted_all_the_time() -> None:
    truth = lock_bound(poisson(200, 30, 3), 5)
    sizing = recommend(recorded(truth, 25)[1], settings(Rules(25, 0, 1.0)), server=TWO_CORES)
    assert sizing.recommended is None
    assert sizing.reason.startswith("no pool size fixes this: one row lock")


def test_a_database_near_its_limit_is_flagged_by_its_own_stress_test() -> None:
    sizing = recommend(
        recorded(cpu_bound(poisson(200, 30, 3), 5), 25)[1], settings(Rules(25, 0, 1.0)), server=TWO_CORES
    )
    text = " ".join(sizing.notes)
    assert "slower SQL" in text
    assert "near its limit" in text
    assert sizing.confidence in ("low", "medium")
    assert sizing.recommended is not None
    assert (sizing.recommended.pool_size or 0) <= 6, "more connections only move the queue into the database"


def test_a_size_that_may_run_more_sql_than_the_run_did_on_unknown_cores_is_said_to_be_unproven() -> None:
    truth = cpu_bound(bursts(30, 3, 60, 140), 5, work_s=0.010)
    _, tables = recorded(truth, 2)
    sizing = recommend(tables, settings(Rules(2, 0, 1.0)))
    assert sizing.recommended is None or any("cores are not known" in note for note in sizing.notes)
