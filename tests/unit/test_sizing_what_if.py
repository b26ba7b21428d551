"""Suppositions: more arrivals, slower SQL, shorter holds, more processes, a smaller server; and clients in disguise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from database_cases import cpu_bound
from sizing_cases import Tables, bursts, holds, poisson, settings, tables

from poolctl.analysis.clients import closed_by_task, deadlock_floor, population_is_capped
from poolctl.analysis.pool_model import EventReplay, Outcome, Rules, Work
from poolctl.analysis.sizing import recommend
from poolctl.analysis.what_if import Supposition
from poolctl.errors import UsageError
from poolctl.trace.report import ServerInfo, Sizing

RULES = Rules(20, 0, 1.0)


def made() -> Tables:
    at = bursts(30, 1)
    return tables(at, holds(len(at), 1), RULES)


def sized(supposing: Supposition | None, recorded: Tables | None = None) -> Sizing:
    return recommend(recorded or made(), settings(RULES), supposing=supposing, server=ServerInfo("18", 200, 3, 0, 2))


def size(sizing: Sizing) -> int:
    assert sizing.recommended is not None, sizing.reason
    return sizing.recommended.pool_size or 0


def test_supposing_nothing_changes_nothing_but_the_note() -> None:
    assert size(sized(Supposition())) == size(sized(None))


def test_more_arrivals_need_more_and_fewer_need_fewer() -> None:
    less, same, more = (size(sized(Supposition(arrivals=factor))) for factor in (0.5, 1.0, 2.0))
    assert less < same < more
    assert any(note == "what if: arrivals × 2" for note in sized(Supposition(arrivals=2.0)).notes)


def test_shorter_holds_at_the_site_need_fewer_and_an_unknown_site_is_refused() -> None:
    assert size(sized(Supposition(holds={"shop.py:10": 0.5}))) < size(sized(None))
    with pytest.raises(UsageError, match="nowhere"):
        sized(Supposition(holds={"nowhere.py": 0.5}))


def test_without_its_idle_time_a_hold_is_its_sql_and_needs_fewer() -> None:
    recorded = made()
    recorded.leases["idle_in_hold_s"] = 0.8 * recorded.leases["hold_time_s"]
    idle = sized(Supposition(idle={"shop.py:10": 0.0}), recorded)
    assert size(idle) == size(sized(Supposition(holds={"shop.py:10": 0.2})))
    assert any("idle part of the holds of shop.py:10 × 0" in note for note in idle.notes)


def test_more_processes_need_fewer_each_and_more_in_sum() -> None:
    one, two = size(sized(None)), sized(Supposition(processes=2))
    assert one / 2 <= size(two) < one
    assert "per process" in two.reason


def test_a_server_that_allows_too_few_is_named() -> None:
    tight = sized(Supposition(server_connections=5))
    assert tight.recommended is None
    assert "5 are left" in tight.reason


def test_slower_sql_needs_statements_and_then_more_connections() -> None:
    with pytest.raises(UsageError, match="no statements"):
        sized(Supposition(sql=1.5))
    behind = cpu_bound(poisson(120, 30, 3), 5).tables(RULES)
    calm, slow = sized(None, behind), sized(Supposition(sql=1.8), behind)
    assert slow.recommended is None or size(slow) > size(calm)


@pytest.mark.parametrize("supposing", [Supposition(arrivals=0), Supposition(sql=-1), Supposition(processes=0)])
def test_impossible_factors_are_refused(supposing: Supposition) -> None:
    with pytest.raises(UsageError):
        sized(supposing)


def loop_of(clients: int, pool: int, tasks: bool) -> pd.DataFrame:
    """Clients in a loop on a starved pool, as a guest sees them: by task, or (behind a web server) not at all."""
    random = np.random.default_rng(3)
    count = clients * 60
    following = np.arange(count) + clients
    following[following >= count] = -1
    think = random.exponential(0.02, count)
    work = Work(
        np.linspace(0, 0.01, count),
        random.exponential(0.03, count),
        np.zeros(count),
        next_request=following,
        think_s=think,
    )
    return frame(EventReplay(work, Rules(pool)).run(), np.arange(count) % clients if tasks else np.arange(count))


def frame(outcome: Outcome, task: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": task,
            "requested_at_s": outcome.requested_at_s,
            "ended_at_s": outcome.ended_at_s,
            "wait_time_s": outcome.wait_s,
        }
    )


def test_worker_tasks_in_a_loop_are_recognised_as_clients() -> None:
    assert closed_by_task(loop_of(12, 4, tasks=True))
    assert not closed_by_task(loop_of(12, 4, tasks=False))


def test_requests_that_come_by_themselves_are_no_clients_even_on_few_tasks() -> None:
    at = poisson(60, 30, 5)
    outcome = EventReplay(Work(at, holds(len(at), 5), np.zeros(len(at))), Rules(6)).run()
    assert not closed_by_task(frame(outcome, np.arange(len(at))))
    assert not population_is_capped(frame(outcome, np.arange(len(at))), 6)


def test_a_population_that_never_exceeds_its_cap_betrays_unseen_clients() -> None:
    assert population_is_capped(loop_of(12, 4, tasks=False), 4)
    assert not population_is_capped(loop_of(12, 20, tasks=False), 20)


def test_a_watched_service_with_unseen_clients_on_a_starved_pool_gets_no_advice() -> None:
    leases = loop_of(12, 4, tasks=False)
    leases = leases.assign(
        process=1,
        pool=1,
        lease=range(len(leases)),
        acquired_at_s=leases["requested_at_s"] + leases["wait_time_s"],
        end="returned",
    )
    leases["hold_time_s"] = leases["ended_at_s"] - leases["acquired_at_s"]
    sizing = recommend(Tables(leases), settings(Rules(4, 0, 30.0)))
    assert sizing.recommended is None
    assert "which client asked was not recorded" in sizing.reason


def nested(tasks: int, each: int) -> pd.DataFrame:
    """So many tasks at once, each taking connections on top of the one it holds, and later one that does not."""
    rows = [
        (task + 1, 10.0 + 0.001 * task + 0.1 * depth, 12.0 - 0.1 * depth)
        for task in range(tasks)
        for depth in range(each)
    ]
    rows.append((99, 10.0, 12.0))
    return pd.DataFrame(rows, columns=["task", "requested_at_s", "ended_at_s"])


@pytest.mark.parametrize(("tasks", "each", "floor"), [(3, 2, 4), (4, 3, 9), (5, 1, 1), (1, 2, 2)])
def test_tasks_that_hold_several_at_once_set_a_floor(tasks: int, each: int, floor: int) -> None:
    assert deadlock_floor(nested(tasks, each)) == floor


def test_a_task_that_takes_one_after_the_other_sets_none() -> None:
    one_by_one = pd.DataFrame({"task": [7, 7, 7], "requested_at_s": [0.0, 1.0, 2.0], "ended_at_s": [1.0, 2.0, 3.0]})
    assert deadlock_floor(one_by_one) == 1
    assert deadlock_floor(one_by_one.assign(task=0, requested_at_s=0.0)) == 1, "tasks that were not recorded"


def test_no_size_below_the_floor_is_recommended() -> None:
    at = poisson(6, 60, 8)
    recorded = tables(at, np.full(len(at), 0.01), RULES)
    burst = nested(6, 2).iloc[:-1]
    extra = recorded.leases.iloc[[0] * len(burst)].assign(
        task=burst["task"].to_numpy(),
        requested_at_s=burst["requested_at_s"].to_numpy(),
        acquired_at_s=burst["requested_at_s"].to_numpy(),
        ended_at_s=burst["ended_at_s"].to_numpy(),
        hold_time_s=0.01,
        lease=range(100_000, 100_000 + len(burst)),
    )
    leases = pd.concat([recorded.leases.assign(task=range(1_000, 1_000 + len(at))), extra], ignore_index=True)
    sizing = sized(None, Tables(leases, recorded.operations))
    assert size(sizing) == 7
    assert any("block each other" in note for note in sizing.notes)
    assert size(sized(None, recorded)) < 7


def test_the_highest_point_of_a_short_open_run_is_not_taken_for_a_cap() -> None:
    for seed in range(60):
        at = poisson(12, 5, seed)
        outcome = EventReplay(Work(at, holds(len(at), seed), np.zeros(len(at))), Rules(1)).run()
        assert not population_is_capped(frame(outcome, np.arange(len(at))), 1)


def test_shorter_holds_at_a_site_shorten_its_sql_too_where_the_database_answers_back() -> None:
    behind = cpu_bound(poisson(170, 30, 3), 5).tables(RULES)
    before, after = sized(None, behind), sized(Supposition(holds={"app.py:0": 0.4}), behind)

    def response(sizing: Sizing) -> float:
        dist = next(row.response_time_s for row in sizing.predictions if (row.pool_size, row.max_overflow) == (2, 0))
        assert dist is not None
        assert dist.mean is not None
        return dist.mean

    assert response(after) < 0.45 * response(before)
