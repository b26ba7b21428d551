"""The gate, on runs whose truth is known: A/A is not failed, planted regressions are, and doubt is said."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from gate_simulation import Side, run, sides, until_decided

from poolctl.analysis.compare import Declared, compare, primary_of, proven
from poolctl.analysis.evidence import Average, Count, Evidence
from poolctl.analysis.ratio import Noise
from poolctl.errors import UsageError
from poolctl.trace.comparison import Comparison, Measure, Role
from poolctl.trace.report import Outcome

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def verdicts(base: Side, head: Side, times: int, declared: Declared | None = None, **how: bool) -> Counter[Outcome]:
    return Counter(compare(*sides(base, head, 6, seed, **how), declared).verdict for seed in range(1, times + 1))


def row(made: Comparison, name: str) -> Measure:
    return next(row for row in made.scenarios[0].measures if row.name == name)


@pytest.mark.parametrize("utilisation", [0.60, 0.75, 0.90])
def test_of_a_hundred_identical_pairs_of_sides_no_more_fail_than_declared(utilisation: float) -> None:
    same = Side(utilisation)
    # The level itself, without the shelter of the margin: 5 % are declared; 97 % of such tests show 9 or fewer.
    exact = Declared(margin=1e-9)
    paired = [sides(same, same, 6, seed) for seed in range(1, 101)]
    assert [compare(*made).verdict for made in paired].count(FAIL) == 0
    assert [compare(*made, exact).verdict for made in paired].count(FAIL) <= 9
    assert verdicts(same, same, 100, exact, same_tape=False)[FAIL] <= 9


def test_identical_sides_pass_at_sensible_utilisation() -> None:
    same = Side(0.65)
    assert verdicts(same, same, 30)[PASS] >= 27


def test_a_fifth_more_hold_time_at_70_percent_fails() -> None:
    assert verdicts(Side(0.7), Side(0.7, hold=1.2), 30)[FAIL] >= 27


@pytest.mark.parametrize("head", [Side(0.7, leaks=1), Side(0.7, statements=4), Side(0.7, size=7)])
def test_a_leak_a_round_trip_and_a_smaller_pool_always_fail(head: Side) -> None:
    assert verdicts(Side(0.7), head, 10) == {FAIL: 10}


def test_the_same_tape_shows_smaller_effects_than_other_arrivals() -> None:
    same, other = (
        np.median([primary_of(compare(*sides(Side(0.8), Side(0.8), 6, seed, same_tape=how)).scenarios[0]).mde
                   for seed in range(1, 21)])
        for how in (True, False)
    )  # fmt: skip
    assert same < other / 2


def test_one_run_a_side_cannot_tell_but_a_calibration_can() -> None:
    noise = np.random.default_rng(1)
    base, head = ([run(side, 5, noise)] for side in (Side(0.7), Side(0.7, hold=1.5)))
    made = compare(base, head)
    assert (made.verdict, made.exit_code) == (INCONCLUSIVE, 4)
    assert "one run a side has no spread" in made.summary
    known = compare(base, head, Declared(noise={"queue": Noise(0.04, 9)}))
    assert (known.verdict, known.exit_code) == (FAIL, 1)


def test_structure_needs_one_run_a_side_only() -> None:
    noise = np.random.default_rng(1)
    head = run(Side(0.7, statements=4), 5, noise)
    made = compare([run(Side(0.7), 5, noise)], [head])
    assert made.verdict is FAIL
    assert row(made, "statements per lease").ratio == pytest.approx(4 / 3, rel=0.01)


def test_the_same_number_on_the_same_work_passes_with_one_run_a_side() -> None:
    noise = np.random.default_rng(1)
    one, other = (
        dataclasses.replace(run(Side(0.7), 5, noise), averages={"statements": Average(1.92, 0.2)}) for _ in range(2)
    )
    assert row(compare([one], [other]), "statements per lease").verdict is PASS
    elsewhere = dataclasses.replace(other, tape="6")
    assert row(compare([one], [elsewhere]), "statements per lease").verdict is INCONCLUSIVE


def test_a_run_that_does_not_count_is_left_out_and_too_many_conclude_nothing() -> None:
    base, head = sides(Side(0.6), Side(0.6), 6, 3)
    one = [dataclasses.replace(head[0], disturbed="operations started late"), *head[1:]]
    made = compare(base, one)
    assert made.verdict is PASS
    assert made.scenarios[0].left_out == [f"{head[0].run}: operations started late"]
    many = [dataclasses.replace(item, disturbed="operations started late") for item in head[:2]] + head[2:]
    made = compare(base, many)
    assert made.verdict is INCONCLUSIVE
    assert "operations started late" in made.summary
    broken = [dataclasses.replace(item, broken="9 records were lost") for item in head]
    assert compare(base, broken).verdict is INCONCLUSIVE


def test_a_leak_is_a_leak_on_a_disturbed_machine_too() -> None:
    base, head = sides(Side(0.6), Side(0.6, leaks=2), 3, 3)
    late = [dataclasses.replace(item, disturbed="operations started late") for item in head]
    assert compare(base, late).verdict is FAIL


def with_(side: list[Evidence], **changes: object) -> list[Evidence]:
    return [dataclasses.replace(item, **changes) for item in side]  # type: ignore[arg-type]


def test_a_new_nested_checkout_and_a_new_hold_across_other_work_fail_and_old_ones_do_not() -> None:
    base, head = sides(Side(0.6), Side(0.6), 4, 3)
    nested = frozenset({"orders.py place_order"})
    made = compare(base, with_(head, nested=nested))
    assert made.verdict is FAIL
    assert row(made, "nested checkouts").reason == "new: orders.py place_order"
    assert compare(with_(base, nested=nested), with_(head, nested=nested)).verdict is PASS

    calls = {"pay": (0.9, 0.080)}
    made = compare(with_(base, idle={"pay": (0.1, 0.001)}), with_(head, idle=calls))
    assert made.verdict is FAIL
    assert "pay" in row(made, "holds across other work").reason
    assert compare(with_(base, idle=calls), with_(head, idle=calls)).verdict is PASS
    made = compare(with_(base, idle={}), with_(head, idle=calls))
    assert made.verdict is PASS
    assert made.scenarios[0].notes[0] == "only in head, so compared with nothing: pay"


def test_timeouts_fail_by_exact_limits_and_none_means_at_most_three_in_n() -> None:
    base, head = sides(Side(0.6), Side(0.6), 4, 3)
    none = row(compare(base, head), "timeouts")
    assert none.verdict is PASS
    assert none.reason == "none in 6,000 and in 6,000: the rate in head is at most 0.05 % (3/n)"
    lost = [dataclasses.replace(item, counts={**item.counts, "timeouts": Count(10, 1500)}) for item in head]
    made = compare(base, lost)
    assert made.verdict is FAIL
    assert row(made, "timeouts").role is Role.GUARD
    clumped = [dataclasses.replace(item, counts={**item.counts, "timeouts": Count(10, 1500, 20.0)}) for item in head]
    assert compare(base, clumped).verdict is not FAIL


def test_runs_on_one_tape_are_one_observation_where_the_other_side_has_other_tapes() -> None:
    noise = np.random.default_rng(4)
    base = [run(Side(0.8), 1, noise) for _ in range(5)]
    head = [run(Side(0.8), 2, noise) for _ in range(5)]
    assert compare(base, head).verdict is INCONCLUSIVE


def test_looks_share_what_was_declared() -> None:
    base, head = sides(Side(0.7), Side(0.7, hold=1.05), 6, 2)
    once, thrice = (compare(base, head, Declared(looks=looks)) for looks in (1, 3))
    wide = [primary_of(made.scenarios[0]).ci for made in (once, thrice)]
    assert wide[1][0] < wide[0][0] < wide[0][1] < wide[1][1]


def test_holm_holds_the_rate_over_many_scenarios() -> None:
    failed = 0
    for seed in range(1, 31):
        base, head = [], []
        for number in range(5):
            for side, made in zip((base, head), sides(Side(0.6), Side(0.6), 4, 100 * seed + number), strict=True):
                side += with_(made, scenario=f"queue {number}")
        failed += compare(base, head, Declared(margin=1e-9)).verdict is FAIL
    assert failed <= 5


def test_a_scenario_on_one_side_only_is_never_a_pass() -> None:
    base, head = sides(Side(0.6), Side(0.6), 4, 3)
    made = compare([*base, dataclasses.replace(base[0], scenario="other")], head)
    assert made.verdict is INCONCLUSIVE
    assert "other ran on one side only" in made.summary
    with pytest.raises(UsageError, match="nothing to compare"):
        compare(with_(base, scenario="other"), head)


def test_too_few_samples_are_said() -> None:
    noise = np.random.default_rng(4)
    few = [run(Side(0.6, requests=40), tape, noise) for tape in range(4)]
    made = compare(few, few)
    assert made.verdict is INCONCLUSIVE
    assert "fewer than 59 samples" in made.summary


@pytest.mark.parametrize(("margin", "alpha"), [(0.0, 0.05), (-0.1, 0.05), (0.1, 0.0), (0.1, 0.7)])
def test_what_cannot_be_declared_is_refused(margin: float, alpha: float) -> None:
    with pytest.raises(UsageError):
        Declared(margin=margin, alpha=alpha)


def test_json_gives_the_comparison_back() -> None:
    made = compare(*sides(Side(0.7), Side(0.7, hold=1.2), 4, 2))
    assert Comparison.from_json(made.to_json()) == made


def test_an_average_with_a_mean_of_zero_is_no_error() -> None:
    base, head = sides(Side(0.6), Side(0.6), 4, 3)
    zero = {"connects": Average(0.0, 0.0)}
    assert compare(with_(base, averages=zero), with_(head, averages=zero)).verdict is PASS


def test_early_looks_keep_the_rate_and_find_a_fifth_more_hold_time() -> None:
    short = Side(0.75, requests=590)
    exact = Declared(margin=1e-9, looks=3)
    ended = [until_decided(short, short, 10, seed, exact)[0].verdict for seed in range(1, 61)]
    assert ended.count(FAIL) <= 6  # 97 % of tests at 5 % show 6 or fewer in 60
    base, slow = Side(0.7, requests=590), Side(0.7, hold=1.2, requests=590)
    found = [until_decided(base, slow, 10, seed, Declared(looks=3)) for seed in range(1, 21)]
    assert [made.verdict for made, _ in found].count(FAIL) >= 18
    assert np.mean([after for _, after in found]) < 8


@pytest.mark.parametrize("head", [Side(0.7, leaks=1), Side(0.7, statements=4)])
def test_a_fact_ends_a_comparison_after_one_pair_and_an_estimate_does_not(head: Side) -> None:
    assert until_decided(Side(0.7), head, 8, 1, Declared(looks=2))[1] == 1
    assert until_decided(Side(0.7), Side(0.7, hold=2.0), 8, 1, Declared(looks=2))[1] == 4


def test_more_leaks_than_the_base_has_are_no_fact_before_a_look() -> None:
    made = compare(*sides(Side(0.7, leaks=1), Side(0.7, leaks=19), 1, 1))
    assert made.verdict is FAIL
    assert not proven(made)
