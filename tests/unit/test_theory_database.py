"""The database model against what is known: processor sharing, one lock, and the plain pool model without either."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from database_cases import Truth, app_bound, cpu_bound, lock_bound, programs
from sizing_cases import bursts, poisson

from poolctl.analysis.database_lean import replay_lean
from poolctl.analysis.database_model import NO_LOCK, Database, DatabaseReplay
from poolctl.analysis.pool_model import EventReplay, Rules, Work
from poolctl.analysis.pool_rules import Floats
from poolctl.analysis.theory import mmc_mean_wait

UNLIMITED = Rules(0, -1)


def one_statement(at: Floats, work: Floats, cores: float, lock: bool = False) -> Truth:
    rows = [[0.0, float(each), 0.0] for each in work]
    locks = np.full(len(at), 0 if lock else NO_LOCK)
    return Truth(at, programs(rows, locks), np.zeros(len(at), dtype=np.int64), cores, int(lock))


def mean_response(truth: Truth, rules: Rules = UNLIMITED) -> float:
    outcome, _ = truth.run(rules, connect_s=0.0)
    return float((outcome.ended_at_s - outcome.requested_at_s).mean())


def normalised(values: Floats, mean: float) -> Floats:
    return values / values.mean() * mean


@pytest.mark.parametrize("shape", [1.0, 4.0])
def test_one_core_is_processor_sharing_insensitive_to_the_shape_of_the_work(shape: float) -> None:
    """M/G/1-PS: E[T] = E[S] / (1 − ρ) whatever the distribution of S."""
    random = np.random.default_rng(2)
    count = 120_000
    at = np.cumsum(normalised(random.exponential(1, count), 0.0125))
    work = normalised(random.gamma(shape, 1, count), 0.010)
    assert mean_response(one_statement(at, work, 1)) == pytest.approx(0.010 / (1 - 0.8), rel=0.06)


def test_as_many_cores_as_servers_with_exponential_work_is_mmc_in_the_mean() -> None:
    """With exponential work the number in an M/M/c queue does not depend on who is served: sharing is like FIFO."""
    random = np.random.default_rng(3)
    count = 120_000
    at = np.cumsum(normalised(random.exponential(1, count), 0.0125))
    work = normalised(random.exponential(1, count), 0.030)
    expected = 0.030 + mmc_mean_wait(3, 2.4, 0.030)
    assert mean_response(one_statement(at, work, 3)) == pytest.approx(expected, rel=0.06)


def test_a_lock_passes_one_at_a_time_in_order_of_arrival() -> None:
    """M/D/1: mean wait ρ·S / 2(1 − ρ), however many cores there are."""
    random = np.random.default_rng(4)
    count = 120_000
    at = np.cumsum(normalised(random.exponential(1, count), 0.0125))
    truth = one_statement(at, np.full(count, 0.010), 64, lock=True)
    outcome, _ = truth.run(UNLIMITED, connect_s=0.0)
    assert (np.diff(outcome.ended_at_s) > 0.010 - 1e-9).all()
    assert mean_response(truth) == pytest.approx(0.010 + 0.8 * 0.010 / (2 * 0.2), rel=0.06)


def test_without_contention_it_is_the_pool_model() -> None:
    at = poisson(150, 40, 5)
    truth = app_bound(at, 5)
    holds = np.add.reduceat(truth.programs.steps, truth.programs.first[:-1])
    rules = Rules(4, 2, 0.5)
    work = Work(at, holds, np.full(len(at), 0.003))
    behind = DatabaseReplay(work, rules, truth.programs, np.arange(len(at)), Database(np.inf, close_work_s=0.0)).run()
    plain = EventReplay(work, rules).run()
    np.testing.assert_array_equal(behind.end, plain.end)
    np.testing.assert_allclose(behind.ended_at_s, plain.ended_at_s, atol=1e-6)
    np.testing.assert_array_equal(behind.opened, plain.opened)


def test_two_processes_share_the_database_but_not_their_pools() -> None:
    """Two requests at once on one core take twice as long, though each has its own pool of one."""
    at = np.array([0.0, 0.0001])
    layout = programs([[0.0, 0.1, 0.0], [0.0, 0.1, 0.0]], np.full(2, NO_LOCK))
    work = Work(at, np.zeros(2), np.zeros(2))
    apart = DatabaseReplay(work, Rules(1), layout, np.arange(2), Database(1), [0, 0], [0, 1]).run()
    assert apart.wait_s.max() == 0
    assert apart.ended_at_s.max() == pytest.approx(0.2, abs=1e-3)
    together = DatabaseReplay(work, Rules(1), layout, np.arange(2), Database(1)).run()
    assert together.wait_s.max() == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize("size", [2, 4, 30])
@pytest.mark.parametrize("make", [app_bound, cpu_bound, lock_bound])
def test_the_lean_loop_does_what_the_full_one_does(make: Callable[[Floats, int], Truth], size: int) -> None:
    at = bursts(40, 3, 60, 200)
    truth, count, rules = make(at, 5), len(at), Rules(size, 0, 0.4)
    work, pool_of, mark = Work(at, np.zeros(count), np.full(count, 0.003)), np.arange(count) % 2, np.arange(count)
    database = Database(2, truth.locks, connect_cold_s=0.002)
    replay = DatabaseReplay(work, rules, truth.programs, mark, database, [1, 0], pool_of.tolist())
    full = replay.run()
    lean, peaks = replay_lean(work, rules, truth.programs, mark, database, [1, 0], pool_of)
    np.testing.assert_array_equal(lean.end, full.end)
    np.testing.assert_array_equal(lean.opened, full.opened)
    np.testing.assert_allclose(lean.ended_at_s, full.ended_at_s, atol=1e-7)
    np.testing.assert_allclose(lean.granted_at_s, full.granted_at_s, atol=1e-7)
    assert peaks == [pool.peak for pool in replay.pools]
