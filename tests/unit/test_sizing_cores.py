"""How many cores were at work in a run: no more than are there, and so many that the crowd's work is that alone."""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np
import pytest
from database_cases import Truth, app_bound, cpu_bound, lock_bound
from sizing_cases import poisson

from poolctl.analysis.cores import censored_mean, effective_cores, virtual_time
from poolctl.analysis.demand import read_demand
from poolctl.analysis.engines import Structural
from poolctl.analysis.pool_model import Rules
from poolctl.analysis.pool_rules import Floats, Ints
from poolctl.analysis.structure import Structure, fit

ONES = np.ones(3)


def test_the_mean_of_times_cut_short_is_the_area_under_the_product_limit() -> None:
    time, whole = np.array([3.0, 1.0, 2.0]), np.array([True, True, False])
    assert censored_mean(time, whole, ONES) == (pytest.approx(1 + 2 * 2 / 3), 0.0)
    assert censored_mean(time, ~whole, ONES) == (pytest.approx(2 + 1 / 2), pytest.approx(0.5))
    assert censored_mean(time, np.ones(3, dtype=np.bool_), ONES) == (pytest.approx(2.0), 0.0)


def test_a_weight_counts_as_so_many_times() -> None:
    time, whole, weight = np.array([1.0, 2.0, 3.0]), np.array([True, False, True]), np.array([1.0, 2.0, 3.0])
    often = np.repeat(np.arange(3), [1, 2, 3])
    assert censored_mean(time, whole, weight) == pytest.approx(censored_mean(time[often], whole[often], np.ones(6)))


def test_cutting_short_at_times_of_its_own_leaves_the_mean() -> None:
    random = np.random.default_rng(3)
    time, cut = random.gamma(4, 0.001, 5000), random.exponential(0.005, 5000)
    found, left = censored_mean(np.minimum(time, cut), time <= cut, np.ones(5000))
    assert found == pytest.approx(0.004, rel=0.02)
    assert left < 0.01


def taken_apart(truth: Truth, size: int, told: float | None = 2) -> Structure:
    tables = truth.tables(Rules(size, 0, 1.0))
    demand = read_demand(tables.leases, tables.operations)
    assert demand is not None
    structure = fit(demand, tables.statements, told)
    assert structure is not None
    return structure


@pytest.mark.parametrize("size", [3, 25])
def test_fewer_cores_at_work_than_were_told_are_seen_and_predict_other_sizes(size: int) -> None:
    truth = replace(cpu_bound(poisson(130, 30, 3), 5), cores=1.5)
    structure = taken_apart(truth, size)
    assert structure.cores_known == "effective"
    assert structure.database.cores == pytest.approx(1.5, abs=0.1)
    tables = truth.tables(Rules(size, 0, 1.0))
    demand = read_demand(tables.leases, tables.operations)
    assert demand is not None
    for other in (2, 4):
        predicted, true = (
            float(np.quantile(outcome.wait_s, 0.95))
            for outcome in (
                Structural(structure)(demand.demands, Rules(other, 0, 1.0))[0],
                truth.run(Rules(other, 0, 1.0))[0],
            )
        )
        assert predicted + 0.005 == pytest.approx(true + 0.005, rel=0.15), other


@pytest.mark.parametrize("seed", [3, 4, 5, 6])
def test_cores_that_were_all_at_work_stay(seed: int) -> None:
    structure = taken_apart(cpu_bound(poisson(170, 30, seed), seed), 25)
    assert (structure.cores_known, structure.database.cores) == ("told", 2)


def scaled(truth: Truth, sql: float) -> Truth:
    """Return the truth with all its SQL so many times as long, on fewer cores than anybody was told."""
    steps, first = truth.programs.steps.copy(), truth.programs.first
    place = np.arange(len(steps)) - np.repeat(first[:-1], np.diff(first))
    steps[place % 2 == 1] *= sql
    return replace(truth, programs=replace(truth.programs, steps=steps), cores=1.1)


@pytest.mark.parametrize(
    ("truth", "stations"),
    [(app_bound(poisson(150, 30, 3), 5), 0), (scaled(lock_bound(poisson(60, 60, 3), 5), 4.0), 1)],
    ids=["hardly any SQL", "row lock"],
)
def test_what_is_not_for_the_cores_to_explain_leaves_them_as_told(truth: Truth, stations: int) -> None:
    structure = taken_apart(replace(truth, cores=1.1), 25)
    assert len(structure.stations) == stations
    assert structure.cores_known == "told"


def test_a_run_on_one_connection_says_nothing_about_a_crowd() -> None:
    structure = taken_apart(replace(cpu_bound(poisson(60, 30, 3), 5), cores=1.2), 1)
    assert (structure.cores_known, structure.database.cores) == ("told", 2)


def unbalanced(at: Floats, work: Floats, seed: int) -> Floats:
    """Return when each piece ends on two cores of which each shares itself among the pieces that it was given."""
    random, ends = np.random.default_rng(seed), np.empty(len(at))
    core = random.integers(0, 2, len(at))
    for one in (0, 1):
        active: list[tuple[float, int]] = []
        now = virtual = 0.0
        for piece in [*np.flatnonzero(core == one).tolist(), -1]:
            arrival = at[piece] if piece >= 0 else np.inf
            while active and now + (active[0][0] - virtual) * len(active) <= arrival:
                now += (active[0][0] - virtual) * len(active)
                virtual, done = heapq.heappop(active)
                ends[done] = now
            if piece >= 0:
                virtual += (arrival - now) / max(len(active), 1)
                now = arrival
                heapq.heappush(active, (virtual + work[piece], piece))
    return ends


def test_work_is_not_overstated_where_the_system_leaves_a_core_idle() -> None:
    random, at = np.random.default_rng(5), poisson(150, 60, 5)
    work = random.gamma(8, 0.0005, len(at))
    ends = unbalanced(at, work, 7)
    cores = effective_cores(at, ends, np.zeros(len(at), dtype=np.int64), 2.0)
    clocks = {each: virtual_time(at, ends, each)[0] for each in (2.0, cores)}
    inferred = {each: float((clock(ends) - clock(at)).mean()) for each, clock in clocks.items()}
    assert inferred[2.0] > 1.08 * work.mean()
    assert inferred[cores] == pytest.approx(work.mean(), rel=0.03)


def crowd(seed: int) -> tuple[Floats, Floats, Ints]:
    """Statements that share one core, in a run of some seconds."""
    at = poisson(120, 20, seed)
    truth = replace(cpu_bound(at, seed, 0.006), cores=1.0)
    _, statements = truth.run(Rules(50, 0, 9.0))
    starts, ends = (statements[name].to_numpy() for name in ("started_at_s", "ended_at_s"))
    return starts, ends, np.zeros(len(starts), dtype=np.int64)


def test_cheap_statements_do_not_speak_for_dear_ones() -> None:
    starts, ends, kind = crowd(3)
    assert effective_cores(starts, ends, kind, 2.0) < 1.2
    dear = np.arange(30.0, 50.0, 0.5)
    starts, ends = np.concatenate([starts, dear]), np.concatenate([ends, dear + 5.0])
    kind = np.concatenate([kind, np.ones(len(dear), dtype=np.int64)])
    assert effective_cores(starts, ends, kind, 2.0) == 2.0


def test_cores_that_nobody_knows_and_a_single_one_stay() -> None:
    starts, ends, kind = crowd(3)
    for cores in (np.inf, 1.0, 0.5):
        assert effective_cores(starts, ends, kind, cores) == cores
    assert effective_cores(starts, ends, np.full(len(starts), -1), 2.0) == 2.0


def test_what_ran_alone_stands_for_what_ran_in_the_same_second() -> None:
    """A machine that is slow whenever it is busy: alone is seen mostly while it is fast."""
    random, second = np.random.default_rng(1), np.arange(40)
    at = np.concatenate([begin + np.sort(random.uniform(0, 1, 20 if begin % 2 else 120)) for begin in second])
    slow = np.where(at.astype(int) % 2 == 1, 1.0, 1.6)
    truth = cpu_bound(at, 2, 0.004)
    steps = truth.programs.steps.copy()
    steps[1::3] *= slow
    truth = replace(truth, programs=replace(truth.programs, steps=steps))
    assert taken_apart(truth, 50).database.cores == 2
