"""Goals, overflow, budget, timeouts: what is said once a size is known."""

from __future__ import annotations

import numpy as np
import pytest

from poolctl.analysis.advice import budget, overflow_for, recycle_for, timeout_for
from poolctl.analysis.goals import all_met, waiting_goals
from poolctl.analysis.pool_model import Rules, Work, replay
from poolctl.trace.report import ServerInfo

OUTCOME = replay(Work(np.array([0.0, 0.01, 0.02]), np.full(3, 0.1), np.zeros(3)), Rules(1, 0, 0.15))
"""Waits: 0, 0.09, and a timeout after 0.15 s."""


def test_the_goals_are_those_that_a_size_decides_and_defaults_stand_in_for_missing_ones() -> None:
    texts = [goal.text for goal in waiting_goals(["p99 hold < 2s", "count leaks == 0"])]
    assert texts == ["p95 wait < 50ms", "rate timeouts < 0.1%"]
    texts = [goal.text for goal in waiting_goals(["p99 acquire < 80ms"])]
    assert texts == ["p99 acquire < 80ms", "rate timeouts < 0.1%"]
    texts = [goal.text for goal in waiting_goals(["mean wait < 5ms", "count timeouts == 0"])]
    assert texts == ["mean wait < 5ms", "count timeouts == 0"]


@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("p50 wait < 100ms", 0.09, True),
        ("max wait < 100ms", 0.15, False),
        ("mean wait < 100ms", 0.08, True),
        ("rate timeouts < 50%", 1 / 3, True),
        ("count timeouts == 0", 1, False),
    ],
)
def test_a_goal_reads_its_value_out_of_the_prediction(text: str, value: float, met: bool) -> None:
    goal = next(goal for goal in waiting_goals([text]) if goal.text == text)
    assert goal.value([OUTCOME]) == pytest.approx(value)
    assert goal.met([OUTCOME]) is met
    assert not all_met(waiting_goals([]), [OUTCOME])


def test_overflow_is_at_most_a_quarter_and_nothing_where_it_would_open_connections_all_the_time() -> None:
    assert overflow_for(8, 99, lambda _: 0.0) == 2
    assert overflow_for(1, 99, lambda _: 0.0) == 1
    assert overflow_for(8, 1, lambda _: 0.0) == 1
    assert overflow_for(8, 99, lambda _: 0.2) == 0
    assert overflow_for(40, 99, lambda overflow: 0.005 * overflow) == 2


def test_the_budget_is_what_the_server_leaves() -> None:
    assert budget(ServerInfo("18", 100, 3, 20)).allowed == 77
    assert budget(None).allowed is None
    assert budget(ServerInfo("18")).allowed is None


def test_pool_timeout_keeps_todays_value_where_it_fits_and_obeys_the_callers_deadline() -> None:
    assert timeout_for(5.0, 0.1, 0.05, None, 0.2)[0] == 5.0
    assert timeout_for(0.1, 0.4, 0.05, None, 0.2)[0] == 1.0
    assert timeout_for(120.0, 0.1, 0.05, None, 0.2)[0] == 30.0
    assert timeout_for(5.0, 1.0, 0.05, 1.0, 0.3)[0] == pytest.approx(0.7)
    assert timeout_for(5.0, 0.1, 0.05, 10.0, 0.3)[0] == pytest.approx(0.25)


def test_pool_recycle_keeps_what_is_set_below_half_of_the_idle_limit_on_the_path() -> None:
    assert [recycle_for(today)[0] for today in (600, -1, None)] == [600, 1800, 1800]
    assert [recycle_for(today, 600)[0] for today in (200, 300, 301, -1)] == [200, 300, 300, 300]
    assert recycle_for(-1, 86400)[0] == 1800
    assert "10.0 min" in recycle_for(None, 600)[1]


def test_recycling_faster_than_connects_are_cheap_is_said() -> None:
    assert "connects" not in recycle_for(None, 120, 0.05)[1]
    assert "0.17 %" in recycle_for(None, 60, 0.05)[1]
