"""What is read out of a lease table, and what other demands are made of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sizing_cases import bursts, holds, poisson, tables

from poolctl.analysis.demand import read_demand
from poolctl.analysis.growth import cut, grow
from poolctl.analysis.pool_model import Rules
from poolctl.analysis.regime import dispersion
from poolctl.analysis.thinning import thin

STARVED = Rules(3, 0, 0.5)


def leases(**columns: object) -> pd.DataFrame:
    base = {
        "process": 1,
        "pool": 1,
        "lease": [1, 2, 3, 4],
        "site": ["a", "a", "b", "b"],
        "context": "c",
        "requested_at_s": [0.0, 1.0, 2.0, 3.0],
        "acquired_at_s": [0.0, 1.0, 2.0, 3.0],
        "ended_at_s": [0.5, 1.5, 2.1, 3.1],
        "wait_time_s": 0.0,
        "hold_time_s": [0.5, 0.5, 0.1, 0.1],
        "end": "returned",
    }
    return pd.DataFrame({**base, **columns})


def test_a_timed_out_request_keeps_its_instant_and_holds_like_another_of_its_site() -> None:
    table = leases(
        end=["returned", "timed_out", "returned", "cancelled"],
        acquired_at_s=[0.0, np.nan, 2.0, np.nan],
        hold_time_s=[0.5, np.nan, 0.1, np.nan],
    )
    recorded = read_demand(table)
    assert recorded is not None
    work = recorded.demands[0].work
    assert work.requested_at_s.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert work.hold_s.tolist() == [0.5, 0.5, 0.1, 0.1]


def test_a_lease_that_is_open_at_the_end_holds_at_least_until_then() -> None:
    table = leases(
        end=["open", "returned", "returned", "returned"],
        ended_at_s=[np.nan, 1.5, 2.1, 9.0],
        hold_time_s=[np.nan, 0.5, 0.1, 0.1],
    )
    recorded = read_demand(table)
    assert recorded is not None
    assert recorded.demands[0].work.hold_s[0] == pytest.approx(9.0)


def test_only_the_busiest_pool_is_sized_and_the_others_are_counted() -> None:
    recorded = read_demand(leases(pool=[1, 1, 1, 2]))
    assert recorded is not None
    assert recorded.requests == 3
    assert recorded.other_pools == 1


def test_connections_that_a_watched_service_had_before_are_there_from_the_start() -> None:
    recorded = read_demand(leases(connection=[1, 2, 3, 1], fresh=[False, False, True, False]))
    assert recorded is not None
    assert recorded.demands[0].warm == 2


def test_connects_cost_what_was_seen_and_pings_are_part_of_the_slot() -> None:
    recorded = read_demand(leases(connect_time_s=[0.02, 0, 0, 0], ping_time_s=[0, 0.01, 0.01, 0.01]))
    assert recorded is not None
    work = recorded.demands[0].work
    assert set(work.connect_s.tolist()) == {0.02}
    assert work.hold_s.tolist() == pytest.approx([0.5, 0.51, 0.11, 0.11])


def test_nothing_seen_whole_is_no_demand() -> None:
    assert read_demand(leases(end="timed_out", hold_time_s=np.nan)) is None


def test_growing_adds_the_share_keeps_the_bursts_and_leaves_the_first_arrivals_where_they_are() -> None:
    at = bursts(60, 1)
    recorded = read_demand(tables(at, holds(len(at), 1), STARVED).leases)
    assert recorded is not None
    grown = grow(recorded.demands[0], 1.3, np.random.default_rng(1))
    assert len(grown.at_s) == pytest.approx(1.3 * len(at), rel=0.03)
    assert np.isin(at, grown.at_s).all()
    assert (np.diff(grown.at_s) > 0).all(), "no copy at the very instant of its original"
    assert dispersion(grown.at_s, 2.0) > 1.1 * dispersion(at, 2.0)
    tripled = grow(recorded.demands[0], 3.0, np.random.default_rng(1))
    assert len(tripled.at_s) == 3 * len(at)


def test_a_cut_moves_its_windows_and_can_repeat_them() -> None:
    at = poisson(50, 10, 2)
    recorded = read_demand(tables(at, holds(len(at), 2), STARVED).leases)
    assert recorded is not None
    twice = cut(recorded.demands[0], [(2.0, 4.0, 0.0), (2.0, 4.0, 2.0)])
    inside = at[(at >= 2) & (at < 4)]
    np.testing.assert_allclose(twice.at_s, np.concatenate([inside - 2, inside]))
    assert len(cut(recorded.demands[0], [(20.0, 30.0, 0.0)]).at_s) == 0


def test_thinning_keeps_whole_stretches_with_their_statements_and_closes_the_gaps() -> None:
    at = bursts(300, 3)
    made = tables(at, holds(len(at), 3), Rules(20))
    statements = made.leases[["process", "lease"]].assign(
        started_at_s=made.leases["acquired_at_s"] + 0.001, sql_time_s=0.002, control=False
    )
    kept, _, theirs = thin(made.leases, made.operations, statements, 4_000)
    assert len(kept) == pytest.approx(4_000, rel=0.25)
    assert set(theirs["lease"]) == set(kept["lease"])
    joined = theirs.merge(kept, on=["process", "lease"])
    np.testing.assert_allclose(joined["started_at_s"] - joined["acquired_at_s"], 0.001, atol=1e-9)
    np.testing.assert_allclose(kept["ended_at_s"] - kept["acquired_at_s"], kept["hold_time_s"], atol=1e-9)
    length = np.ptp(kept["requested_at_s"])
    assert length == pytest.approx(300 * len(kept) / len(at), rel=0.25), "as dense as the run"
    assert np.isclose(dispersion(kept["requested_at_s"].to_numpy(), 1.0), dispersion(at, 1.0), rtol=0.4)
