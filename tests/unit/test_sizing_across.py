"""Several runs: each predicted from the roomiest of the others, on one tape or on traffic of its own."""

from __future__ import annotations

import pytest
from sizing_cases import holds, poisson, settings, tables

from poolctl.analysis.across import Known, across, roomiest, why_apart
from poolctl.analysis.case import Case, prepare
from poolctl.analysis.pool_model import Rules


def known(name: str, size: int, seed: int, *, tape: str | None = None, slower: float = 1.0) -> Known:
    at = poisson(60, 60, seed)
    rules = Rules(size, 0, 1.0)
    made = tables(at, slower * holds(len(at), seed), rules)
    case = prepare(made, settings(rules), [], None, seed)
    assert isinstance(case, Case)
    return Known(name, tape, case)


@pytest.mark.parametrize("tape", [None, "one"])
def test_runs_of_one_load_predict_each_other_whatever_their_size(tape: str | None) -> None:
    seeds = (3, 3, 3) if tape else (3, 4, 5)
    runs = [known(name, size, seed, tape=tape) for name, size, seed in zip("abc", (5, 6, 25), seeds, strict=True)]
    found = across(runs)
    assert [(each.run_id, each.from_run) for each in found] == [("a", "c"), ("b", "c"), ("c", "b")]
    assert all(each.backtest.ok for each in found), [each.backtest for each in found]
    assert why_apart(found) is None
    if tape:
        assert max(each.backtest.error or 0 for each in found) < 1e-6


def test_the_roomiest_is_the_largest_pool() -> None:
    runs = [known("a", 6, 3), known("b", 25, 4)]
    assert roomiest(runs).run_id == "b"
    assert roomiest(runs[::-1]).run_id == "b"


def test_a_run_whose_holds_were_others_is_not_predicted_and_named() -> None:
    found = across([known("quick", 25, 3), known("slow", 6, 4, slower=1.6)])
    assert [each.backtest.ok for each in found][1] is False
    why = why_apart(found)
    assert why is not None
    assert "run slow from run quick" in why
