"""Recommendations on runs whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sizing_cases import Tables, bursts, holds, poisson, settings, tables

from poolctl.analysis.case import Wishes
from poolctl.analysis.pool_model import THREAD_WAKE_S, Rules, Work, replay
from poolctl.analysis.sizing import recommend
from poolctl.trace.report import PoolSettings, ServerInfo, Sizing

STARVED = Rules(5, 0, 1.0)
ROOMY = Rules(50, 0, 1.0)


def smallest(at: np.ndarray, hold: np.ndarray, timeout_s: float = 1.0) -> int:
    """The truth: the fewest connections with which a replay of the arrivals meets the default objectives."""
    for size in range(1, 200):
        outcome = replay(Work(at, hold, np.full(len(at), 0.006)), Rules(size, 0, timeout_s))
        if np.quantile(outcome.wait_s, 0.95) < 0.05 and outcome.timeout_rate < 0.001:
            return size
    raise AssertionError


def size_of(sizing: Sizing) -> int:
    assert sizing.recommended is not None, sizing.reason
    assert sizing.recommended.pool_size is not None
    return sizing.recommended.pool_size


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_a_starved_run_recommends_holds_when_it_is_run(seed: int) -> None:
    at = bursts(30, seed)
    recorded = tables(at, holds(len(at), seed), STARVED)
    assert (recorded.leases["end"] == "timed_out").mean() > 0.005
    sizing = recommend(recorded, settings(STARVED))
    chosen = size_of(sizing)
    outcome = replay(Work(at, holds(len(at), seed), np.full(len(at), 0.006)), Rules(chosen, 0, 1.0))
    assert np.quantile(outcome.wait_s, 0.95) < 0.05
    assert outcome.timeout_rate < 0.001
    assert sizing.confidence in ("low", "medium"), "thirty seconds of bursts are never enough for more"
    assert any("scenario's own arrivals" in note for note in sizing.notes)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_oversized_run_comes_down_to_what_the_starved_run_recommends(seed: int) -> None:
    at = bursts(30, seed)
    hold = holds(len(at), seed)
    down = size_of(recommend(tables(at, hold, ROOMY), settings(ROOMY)))
    up = size_of(recommend(tables(at, hold, STARVED), settings(STARVED)))
    truth = smallest(at, hold)
    assert truth <= down <= truth + 4
    assert abs(down - up) <= 1


@pytest.mark.parametrize("seed", [5, 6, 7, 8])
def test_a_fresh_seed_of_the_same_traffic_meets_the_objective(seed: int) -> None:
    at = bursts(30, seed)
    chosen = size_of(recommend(tables(at, holds(len(at), seed), STARVED), settings(STARVED)))
    fresh = bursts(30, seed + 100)
    outcome = replay(Work(fresh, holds(len(fresh), seed + 100), np.full(len(fresh), 0.006)), Rules(chosen, 0, 1.0))
    assert np.quantile(outcome.wait_s, 0.95) < 0.05
    assert outcome.timeout_rate < 0.001


def test_a_low_load_on_a_large_pool_comes_down_to_a_handful() -> None:
    at = poisson(5, 60, 3)
    sizing = recommend(tables(at, np.full(len(at), 0.02), ROOMY), settings(ROOMY))
    assert 1 <= size_of(sizing) <= 2
    assert sizing.recommended is not None
    assert (sizing.recommended.max_overflow or 0) <= 2


def test_a_long_steady_run_earns_high_confidence() -> None:
    at = poisson(40, 400, 4)
    sizing = recommend(tables(at, holds(len(at), 4), Rules(12, 0, 30.0)), PoolSettings(12, 0, 30.0, -1, False, False))
    assert sizing.confidence == "high"
    assert size_of(sizing) >= smallest(at, holds(len(at), 4), 30.0)


def test_each_process_has_a_pool_of_its_own() -> None:
    """Two pools of n need more in sum than one pool of 2n: the sharing is lost."""
    at = poisson(120, 40, 5)
    hold = holds(len(at), 5)
    one = size_of(recommend(tables(at, hold, Rules(40, 0, 1.0)), settings(Rules(40, 0, 1.0))))
    two = recommend(tables(at, hold, Rules(20, 0, 1.0), processes=2), settings(Rules(20, 0, 1.0)))
    assert one / 2 < size_of(two) < one
    assert "per process" in two.reason


def test_more_demand_never_asks_for_less() -> None:
    at = poisson(60, 40, 6)
    hold = holds(len(at), 6)
    sizes = [size_of(recommend(tables(at[::k], hold[::k], ROOMY), settings(ROOMY))) for k in (4, 2, 1)]
    assert sizes == sorted(sizes)


def test_the_backtest_is_always_there_and_exact_where_the_model_is() -> None:
    at = bursts(30, 9)
    sizing = recommend(tables(at, holds(len(at), 9), STARVED), settings(STARVED))
    assert sizing.backtest is not None
    assert sizing.backtest.ok
    assert sizing.backtest.error == pytest.approx(0, abs=0.02)
    assert sizing.backtest.measured_timeout_rate == pytest.approx(sizing.backtest.predicted_timeout_rate or 0, abs=0.01)


def test_no_advice_where_the_model_cannot_predict_the_run_it_came_from() -> None:
    at = poisson(40, 60, 10)
    recorded = tables(at, holds(len(at), 10), Rules(5, 0, 1.0))
    slower = recorded.leases.assign(wait_time_s=recorded.leases["wait_time_s"] + 0.3)
    sizing = recommend(Tables(slower, recorded.operations), settings(STARVED))
    assert sizing.recommended is None
    assert sizing.confidence == "none"
    assert "does not even predict the run it came from" in sizing.reason
    assert sizing.backtest is not None
    assert not sizing.backtest.ok


def test_too_few_requests_are_refused() -> None:
    at = poisson(1, 30, 11)
    sizing = recommend(tables(at, holds(len(at), 11), ROOMY), settings(ROOMY))
    assert sizing.recommended is None
    assert "59" in sizing.reason
    assert recommend(Tables(recorded_nothing()), settings(ROOMY)).recommended is None


def recorded_nothing() -> pd.DataFrame:
    at = poisson(10, 10, 1)
    return tables(at, holds(len(at), 1), ROOMY).leases.iloc[:0]


def test_a_watched_service_whose_bursts_are_as_long_as_the_recording_is_refused_but_a_scenario_is_not() -> None:
    at = bursts(30, 12)
    hold = holds(len(at), 12)
    watched = recommend(tables(at, hold, ROOMY, scripted=False), settings(ROOMY))
    assert watched.recommended is None
    assert "bursts" in watched.reason
    assert recommend(tables(at, hold, ROOMY), settings(ROOMY)).recommended is not None


def test_a_server_without_room_is_named_and_no_impossible_setting_recommended() -> None:
    at = bursts(30, 13)
    recorded = tables(at, holds(len(at), 13), STARVED)
    tight = recommend(recorded, settings(STARVED), server=ServerInfo("18", 20, 3, 10))
    assert tight.recommended is None
    assert "20" in tight.reason
    assert "pooler" in tight.reason
    wide = recommend(recorded, settings(STARVED), server=ServerInfo("18", 100, 3, 0))
    assert any(note.startswith("budget") for note in wide.notes)


def test_overflow_is_a_safety_valve_not_working_capacity() -> None:
    at = bursts(30, 14)
    sizing = recommend(tables(at, holds(len(at), 14), STARVED), settings(STARVED))
    assert sizing.recommended is not None
    assert 0 <= (sizing.recommended.max_overflow or 0) <= -(-size_of(sizing) // 4)


def test_the_callers_deadline_bounds_pool_timeout() -> None:
    at = bursts(30, 15)
    sizing = recommend(tables(at, holds(len(at), 15), STARVED), settings(STARVED), wishes=Wishes(deadline_s=1.0))
    assert sizing.recommended is not None
    assert 0.05 <= (sizing.recommended.pool_timeout_s or 0) < 1.0


def test_tighter_objectives_ask_for_more_connections() -> None:
    at = bursts(30, 16)
    recorded = tables(at, holds(len(at), 16), STARVED)
    loose, tight = (
        size_of(recommend(recorded, settings(STARVED), [text])) for text in ("p95 wait < 300ms", "p99 wait < 1ms")
    )
    assert loose < tight


def test_the_same_run_and_seed_give_the_same_answer_in_whatever_order_the_file_is() -> None:
    at = bursts(30, 17)
    recorded = tables(at, holds(len(at), 17), STARVED)
    shuffled = replace(recorded, leases=recorded.leases.sample(frac=1, random_state=3))
    assert recommend(recorded, settings(STARVED), seed=5) == recommend(shuffled, settings(STARVED), seed=5)


def test_work_that_the_generator_never_started_is_part_of_the_demand() -> None:
    at = bursts(30, 18)
    hold = holds(len(at), 18)
    kept = np.random.default_rng(1).random(len(at)) < 0.6
    recorded = tables(at[kept], hold[kept], ROOMY)
    skipped = pd.DataFrame(
        {"process": 100, "item": 1, "transaction": "buy", "intended_at_s": at[~kept], "outcome": "skipped"}
    )
    without = recommend(recorded, settings(ROOMY))
    sizing = recommend(replace(recorded, operations=skipped), settings(ROOMY))
    assert size_of(sizing) > size_of(without)
    assert size_of(sizing) >= smallest(at, hold)


def test_an_unlimited_pool_can_be_sized_too() -> None:
    at = bursts(30, 19)
    hold = holds(len(at), 19)
    sizing = recommend(tables(at, hold, Rules(0, -1)), PoolSettings())
    assert size_of(sizing) >= smallest(at, hold)


def test_predictions_cover_today_and_the_recommendation_and_say_which_meet_the_objective() -> None:
    at = bursts(30, 20)
    sizing = recommend(tables(at, holds(len(at), 20), Rules(4, 3, 1.0)), settings(Rules(4, 3, 1.0)))
    pairs = {(row.pool_size, row.max_overflow): row for row in sizing.predictions}
    assert sizing.recommended is not None
    assert (4, 3) in pairs
    assert pairs[sizing.recommended.pool_size, sizing.recommended.max_overflow].meets is True  # type: ignore[index]
    assert pairs[1, 0].meets is False
    assert pairs[1, 0].timeout_rate > 0.3


def test_a_sync_pool_is_modelled_with_the_threads_that_overtake_each_other() -> None:
    at = poisson(60, 30, 21)
    hold = holds(len(at), 21)
    recorded = tables(at, hold, Rules(6, 0, 30.0, wake_s=THREAD_WAKE_S))
    pool = SimpleNamespace(pool_class="QueuePool")
    made = SimpleNamespace(
        leases=recorded.leases, operations=recorded.operations, statements=pd.DataFrame(), pools=[pool]
    )
    sizing = recommend(made, PoolSettings(6, 0, 30.0, -1, False, False))
    assert sizing.backtest is not None
    assert sizing.backtest.error == pytest.approx(0, abs=1e-3), "predicted with the same overtaking as recorded"
    assert size_of(sizing) >= smallest(at, hold, 30.0)


def test_in_nine_of_ten_fresh_seeds_of_the_same_bursts_the_recommendation_holds() -> None:
    held = 0
    for seed in range(30, 40):
        at = bursts(30, seed)
        chosen = size_of(recommend(tables(at, holds(len(at), seed), STARVED), settings(STARVED)))
        fresh = bursts(30, seed + 100)
        hold = holds(len(fresh), seed + 100)
        held += smallest(fresh, hold) <= chosen <= smallest(fresh, hold) + 5
    assert held >= 9


def test_each_objective_says_which_size_it_alone_would_need() -> None:
    at = poisson(60, 60, 21)
    goals = ["p95 wait < 5ms", "p95 wait < 300ms", "rate timeouts < 0.1%"]
    sizing = recommend(tables(at, holds(len(at), 21), Rules(20, 0, 1.0)), settings(Rules(20, 0, 1.0)), goals)
    said = next(note for note in sizing.notes if note.startswith("smallest size for each objective alone"))
    strict, lax, lost = (int(part.rsplit(" ", 1)[1]) for part in said.split(", "))
    assert strict > lax >= lost - 1
    assert f": {strict} meets the objective" in sizing.reason
