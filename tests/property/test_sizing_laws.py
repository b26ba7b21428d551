"""Laws of sizing, whatever the run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sizing_cases import Tables, holds, tables
from sizing_cases import settings as settings_of

from poolctl.analysis.cores import effective_cores
from poolctl.analysis.demand import read_demand
from poolctl.analysis.engines import constant
from poolctl.analysis.goals import waiting_goals
from poolctl.analysis.pool_model import Rules
from poolctl.analysis.search import Search
from poolctl.analysis.sizing import recommend


@st.composite
def runs(draw: st.DrawFn) -> tuple[Tables, Rules]:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(80, 400))
    rate = draw(st.sampled_from([5.0, 40.0, 200.0]))
    at = np.sort(random.uniform(0, count / rate, count))
    rules = Rules(draw(st.integers(1, 30)), draw(st.integers(0, 5)), draw(st.sampled_from([0.2, 1.0, 30.0])))
    return tables(at, holds(count, 1, draw(st.sampled_from([0.002, 0.05]))), rules, draw(st.integers(1, 2))), rules


@given(runs())
@settings(max_examples=25, deadline=None)
def test_the_smallest_size_meets_the_goals_and_one_less_does_not(run: tuple[Tables, Rules]) -> None:
    made, rules = run
    recorded = read_demand(made.leases, made.operations)
    assert recorded is not None
    search = Search(constant, waiting_goals([]), rules)
    found = [search.smallest(recorded.demands, guess) for guess in (1, 7, 40)]
    assert len(set(found)) == 1, "wherever the search begins"
    least = found[0]
    assert least is not None
    assert search.meets(recorded.demands, least)
    assert least == 1 or not search.meets(recorded.demands, least - 1)


@given(runs(), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_file_changes_nothing(run: tuple[Tables, Rules], seed: int) -> None:
    made, rules = run
    shuffled = replace(made, leases=made.leases.sample(frac=1, random_state=seed))
    assert recommend(made, settings_of(rules)) == recommend(shuffled, settings_of(rules))


@given(runs())
@settings(max_examples=20, deadline=None)
def test_a_recommendation_meets_its_own_objective_in_its_own_prediction(run: tuple[Tables, Rules]) -> None:
    made, rules = run
    sizing = recommend(made, settings_of(rules))
    assert sizing.backtest is not None
    if sizing.recommended is None:
        assert sizing.reason
        assert sizing.confidence == "none"
        return
    pair = (sizing.recommended.pool_size, sizing.recommended.max_overflow)
    predicted = next(row for row in sizing.predictions if (row.pool_size, row.max_overflow) == pair)
    assert predicted.meets
    assert sizing.confidence in ("low", "medium", "high")


@given(st.integers(0, 2**32 - 1), st.sampled_from([50.0, 200.0, 400.0]), st.sampled_from([1.5, 2.0, 8.0]))
@settings(max_examples=30, deadline=None)
def test_the_cores_at_work_are_at_least_one_and_never_more_than_are_there(seed: int, rate: float, cores: float) -> None:
    random = np.random.default_rng(seed)
    starts = np.cumsum(random.exponential(1 / rate, 1500))
    ends = starts + random.gamma(3, 0.002, 1500)
    kind = random.integers(-1, 2, 1500)
    found = effective_cores(starts, ends, kind, cores)
    assert 1.0 <= found <= cores
    order = random.permutation(1500)
    assert np.isclose(effective_cores(starts[order], ends[order], kind[order], cores), found)
    apart = np.arange(1500) * 0.1
    assert effective_cores(apart, apart + (ends - starts), kind, cores) == cores, "nothing ever met anything"
