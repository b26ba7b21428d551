"""Clients that wait for each answer: their pauses are replayed, not their instants."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sizing_cases import settings

from poolctl.analysis.demand import read_demand
from poolctl.analysis.engines import constant
from poolctl.analysis.pool_model import EventReplay, Outcome, Rules, Work
from poolctl.analysis.sizing import recommend

CLIENTS, EACH = 24, 120


def run(size: int) -> tuple[Outcome, pd.DataFrame]:
    """Clients in a loop of 50 ms pauses and 30 ms holds on a pool of this size; the lease table of it."""
    random = np.random.default_rng(3)
    count = CLIENTS * EACH
    follower = np.arange(count) + CLIENTS
    follower[follower >= count] = -1
    work = Work(
        np.where(np.arange(count) < CLIENTS, random.uniform(0, 0.05, count), 0.0),
        random.exponential(0.03, count),
        np.full(count, 0.003),
        next_request=follower,
        think_s=random.exponential(0.05, count),
    )
    outcome = EventReplay(work, Rules(size, 0, 30.0)).run()
    columns = {
        "process": 1,
        "pool": 1,
        "lease": np.arange(count),
        "site": "s",
        "context": "c",
        "client": np.arange(count) % CLIENTS,
        "requested_at_s": outcome.requested_at_s,
        "acquired_at_s": outcome.acquired_at_s,
        "ended_at_s": outcome.ended_at_s,
        "wait_time_s": outcome.wait_s,
        "connect_time_s": np.where(outcome.opened, 0.003, 0.0),
        "ping_time_s": 0.0,
        "hold_time_s": outcome.ended_at_s - outcome.acquired_at_s,
        "end": "returned",
        "fresh": outcome.opened,
        "connection": np.cumsum(outcome.opened),
    }
    return outcome, pd.DataFrame(columns)


@pytest.mark.parametrize(("was", "asked"), [(4, 6), (4, 9), (12, 4), (20, 6)])
def test_think_time_replay_predicts_other_sizes_from_a_starved_and_from_a_roomy_run(was: int, asked: int) -> None:
    leases = run(was)[1]
    demand = read_demand(leases, closed=True)
    assert demand is not None
    predicted = float(np.quantile(constant(demand.demands, Rules(asked, 0, 30.0))[0].wait_s, 0.95))
    true = float(np.quantile(run(asked)[0].wait_s, 0.95))
    assert predicted == pytest.approx(true, rel=0.08)


def test_replaying_the_instants_instead_is_wrong_in_both_directions() -> None:
    for was, asked, optimistic in ((4, 6, True), (20, 4, False)):
        demand = read_demand(run(was)[1])
        assert demand is not None
        replayed = float(np.quantile(constant(demand.demands, Rules(asked, 0, 30.0))[0].wait_s, 0.95))
        true = float(np.quantile(run(asked)[0].wait_s, 0.95))
        assert (replayed < true / 1.5) if optimistic else (replayed > 1.5 * true)


def test_a_closed_run_is_sized_by_its_clients_and_says_so() -> None:
    leases = run(4)[1]
    tables = SimpleNamespace(
        leases=leases,
        operations=pd.DataFrame({"outcome": ["done"], "process": [1]}),
        statements=pd.DataFrame(),
        meta={"load": {"model": "closed"}},
    )
    sizing = recommend(tables, settings(Rules(4, 0, 30.0)))
    assert sizing.recommended is not None
    chosen = sizing.recommended.pool_size or 0
    assert np.quantile(run(chosen)[0].wait_s, 0.95) < 0.05
    assert any("pauses" in note for note in sizing.notes)
    assert "clients" in sizing.reason


def test_a_closed_run_without_client_ids_gets_no_advice() -> None:
    leases = run(4)[1].assign(client=0)
    tables = SimpleNamespace(leases=leases, operations=pd.DataFrame(), statements=pd.DataFrame())
    sizing = recommend(tables, settings(Rules(4, 0, 30.0)), closed=True)
    assert sizing.recommended is None
    assert "which client asked was not recorded" in sizing.reason
