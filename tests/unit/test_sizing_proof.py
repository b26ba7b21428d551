"""What --verify and --sweep make of measurements: what is tried, what is corrected, and what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from poolctl.analysis.proof import concluded, further, neighbours
from poolctl.cli.proving import turns
from poolctl.trace.report import Backtest, Dist, PoolSettings, Prediction, Sizing, Verified

BEST = PoolSettings(8, 2, 0.5, 1800.0, False, False)


def predicted(size: int, overflow: int, *, meets: bool) -> Prediction:
    return Prediction(size, overflow, Dist(100, p95=0.01 if meets else 0.2), 0.0, 0.5, size, meets)


def sizing(*predictions: Prediction) -> Sizing:
    tested = Backtest(0.01, 0.01, 0.0, 0.0, 0.0, ok=True)
    return Sizing("p95 wait < 50ms", BEST, "high", "why", tested, list(predictions))


def measured(size: int, met: bool | None, overflow: int = 2) -> Verified:
    settings = replace(BEST, pool_size=size, max_overflow=overflow)
    return Verified(f"run-{size}", settings, predicted(size, overflow, meets=True), Dist(100, p95=0.02), 0.0, met)


def test_the_recommendation_and_those_beside_it_are_tried_and_one_that_must_miss() -> None:
    known = sizing(*(predicted(size, 0, meets=size > 4) for size in range(1, 12)))
    assert [(s.pool_size, s.max_overflow) for s in neighbours(known)] == [(8, 2), (7, 2), (9, 2), (4, 0)]
    near = sizing(predicted(7, 2, meets=False), predicted(3, 0, meets=False))
    assert [s.pool_size for s in neighbours(near)] == [8, 7, 9]
    assert neighbours(replace(known, recommended=None)) == []
    one = replace(known, recommended=replace(BEST, pool_size=1))
    assert [s.pool_size for s in neighbours(one)] == [1, 2]


def test_a_recommendation_that_holds_stays() -> None:
    made = concluded(sizing(), [measured(8, True), measured(7, False), measured(9, True)])
    assert made.recommended == BEST
    assert made.corrected == ""
    assert made.verified is not None
    assert made.verified.run_id == "run-8"
    assert "measured at pool_size 7, 8, 9: 8 is the smallest that met the objective" in made.notes[-1]


def test_a_wrong_one_becomes_the_smallest_larger_one_that_met_the_objective() -> None:
    tried = [measured(8, False), measured(7, True), measured(9, True), measured(10, True)]
    assert further(BEST, tried) is None
    made = concluded(sizing(), tried)
    assert made.recommended == replace(BEST, pool_size=9)
    assert made.confidence == "medium"
    assert "pool_size 8 was predicted to do, and missed the objective" in made.corrected
    assert made.verified is not None
    assert made.verified.run_id == "run-9"


def test_larger_ones_are_tried_until_one_holds_and_not_for_ever() -> None:
    tried = [measured(8, False), measured(7, False), measured(9, False)]
    for size in (10, 12, 16):
        following = further(BEST, tried)
        assert following is not None
        assert following.pool_size == size
        tried.append(measured(size, False))
    assert further(BEST, tried) is None
    made = concluded(sizing(), tried)
    assert made.recommended is None
    assert made.no_size
    assert "no size that was tried" in made.reason


@pytest.mark.parametrize("verdict", [True, None])
def test_nothing_more_is_tried_where_the_recommendation_was_not_found_wrong(verdict: bool | None) -> None:
    assert further(BEST, [measured(8, verdict)]) is None
    assert concluded(sizing(), [measured(8, verdict)]).recommended == BEST


def test_one_run_of_two_that_misses_is_a_miss() -> None:
    made = concluded(sizing(), [measured(8, True), measured(8, False), measured(12, True)])
    assert made.recommended == replace(BEST, pool_size=12)


def test_a_ladder_corrects_a_recommendation_that_lies_between_its_sizes() -> None:
    between = concluded(sizing(), [measured(16, True, 0), measured(10, False, 0), measured(4, False, 0)])
    assert between.recommended == replace(BEST, pool_size=16)
    above = concluded(sizing(), [measured(16, True, 0), measured(10, True, 0), measured(4, False, 0)])
    assert above.recommended == BEST


def test_a_ladder_is_run_from_the_roomiest_there_and_back() -> None:
    assert turns([2, 8, 4], 1) == [8, 4, 2]
    assert turns([2, 8, 4], 3) == [8, 4, 2, 2, 4, 8, 8, 4, 2]
