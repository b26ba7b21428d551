"""A change in a series of runs is found where it is, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from gate_simulation import Side, run

from poolctl.analysis.compare import Declared
from poolctl.analysis.history import change_points, locate
from poolctl.errors import UsageError
from poolctl.trace.report import Outcome


def series(*holds: tuple[int, float]) -> list:
    noise = np.random.default_rng(5)
    tape, made = 0, []
    for count, hold in holds:
        for _ in range(count):
            tape += 1
            made.append(run(Side(0.6, hold=hold, requests=800), tape, noise, f"run-{tape:02}"))
    return made


def test_the_run_from_which_it_was_slower_is_named() -> None:
    made = locate(series((12, 1.0), (8, 1.35)))
    assert (made.verdict, made.exit_code) == (Outcome.FAIL, 1)
    (found,) = made.scenarios
    assert found.head_runs[0] in ("run-12", "run-13", "run-14")
    assert f"since run {found.head_runs[0]}" in made.summary
    assert found.measures[0].ci is not None
    assert found.measures[0].ci[0] > 1.1


def test_a_change_for_the_better_is_no_failure_and_a_series_on_one_level_passes() -> None:
    assert locate(series((10, 1.35), (10, 1.0))).verdict is Outcome.PASS
    level = locate(series((20, 1.0)))
    assert level.verdict is Outcome.PASS
    assert "stays on one level" in level.summary


def test_two_changes_are_both_told_and_the_last_decides() -> None:
    made = locate(series((12, 1.0), (16, 1.5), (6, 1.0)))
    assert made.verdict is Outcome.PASS
    (note,) = made.scenarios[0].notes
    assert note.startswith("a change of +")
    assert len(made.scenarios[0].head_runs) in (5, 6, 7)


def test_a_short_history_cannot_tell() -> None:
    made = locate(series((6, 1.0)))
    assert (made.verdict, made.exit_code) == (Outcome.INCONCLUSIVE, 4)
    with pytest.raises(UsageError):
        locate([])


def test_false_alarms_keep_to_what_was_declared() -> None:
    noise = np.random.default_rng(8)
    alarms = sum(bool(change_points(noise.normal(0, 0.1, 20), 0.05)) for _ in range(60))
    assert alarms <= 7  # 3 expected; more than 7 in one of thirty such tests


def test_what_changed_around_it_is_said() -> None:
    runs = series((10, 1.0), (10, 1.5))
    moved = [
        one.__class__(**{**vars(one), "surroundings": {"version of python": "3.12" if number >= 10 else "3.11"}})
        for number, one in enumerate(runs)
    ]
    assert "version of python changed there, too: 3.11 → 3.12" in locate(moved, Declared()).scenarios[0].notes
