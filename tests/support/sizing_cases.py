"""Runs whose truth is known: arrivals and holds through the pool model, as the tables that a run would give."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from poolctl.analysis.pool_model import End, Rules, Work, replay
from poolctl.analysis.pool_rules import Floats
from poolctl.trace.report import PoolSettings


@dataclass
class Tables:
    leases: pd.DataFrame
    operations: pd.DataFrame = field(default_factory=pd.DataFrame)
    statements: pd.DataFrame = field(default_factory=pd.DataFrame)


def poisson(rate: float, duration_s: float, seed: int) -> Floats:
    random = np.random.default_rng(seed)
    return np.sort(random.uniform(0, duration_s, random.poisson(rate * duration_s)))


def bursts(duration_s: float, seed: int, low: float = 8, high: float = 110) -> Floats:
    """Four seconds quiet, two seconds busy, and so on."""
    random = np.random.default_rng(seed)
    parts = []
    for start in np.arange(0, duration_s, 6.0):
        for rate, begin, length in ((low, start, 4.0), (high, start + 4.0, 2.0)):
            parts.append(begin + random.uniform(0, length, random.poisson(rate * length)))
    at = np.sort(np.concatenate(parts))
    return at[at < duration_s]


def holds(count: int, seed: int, mean_s: float = 0.06) -> Floats:
    return 0.01 + np.random.default_rng(seed + 1000).exponential(mean_s, count)


def settings(rules: Rules) -> PoolSettings:
    return PoolSettings(rules.pool_size, rules.max_overflow, rules.pool_timeout_s, -1.0, False, False)


def tables(at: Floats, hold: Floats, rules: Rules, processes: int = 1, scripted: bool = True) -> Tables:
    """Return what a run of these arrivals and holds through pools with these rules would have recorded."""
    parts = []
    for process in range(processes):
        instants, length = at[process::processes], hold[process::processes]
        outcome = replay(Work(instants, length, np.full(len(instants), 0.006), 0.002), rules)
        lost = outcome.end == End.TIMED_OUT
        columns = {
            "process": 100 + process,
            "pool": 1,
            "lease": np.arange(len(instants)) + 1,
            "site": "app/shop.py:10 buy",
            "context": "buy",
            "client": 0,
            "requested_at_s": instants,
            "acquired_at_s": outcome.acquired_at_s,
            "ended_at_s": outcome.ended_at_s,
            "wait_time_s": outcome.wait_s,
            "connect_time_s": np.where(outcome.opened, 0.006, 0.0),
            "ping_time_s": 0.0,
            "hold_time_s": np.where(lost, np.nan, length),
            "end": np.where(lost, "timed_out", "returned"),
            "fresh": outcome.opened,
            "connection": np.where(lost, 0, np.cumsum(outcome.opened)),
        }
        parts.append(pd.DataFrame(columns))
    operations = pd.DataFrame(
        {"process": [100], "item": [0], "transaction": ["buy"], "intended_at_s": [0.0], "outcome": ["done"]}
    )
    return Tables(pd.concat(parts, ignore_index=True), operations if scripted else pd.DataFrame())
