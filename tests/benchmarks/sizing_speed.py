"""How long the models need: a million leases over a grid of thirty sizes, constant holds and the database model.

python tests/benchmarks/sizing_speed.py [leases]
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import numpy as np
import pandas as pd
from sizing_cases import Tables, poisson

from poolctl.analysis.demand import read_demand
from poolctl.analysis.engines import Structural, constant
from poolctl.analysis.pool_model import Rules, Work, replay
from poolctl.analysis.sizing import recommend
from poolctl.analysis.structure import fit
from poolctl.trace.report import PoolSettings, ServerInfo

SIZES = range(6, 36)


def million(count: int) -> Tables:
    """Application-bound leases of two statements each, from a pool of 40."""
    rate = 150.0
    at = poisson(rate, count / rate, 1)
    count = len(at)
    random = np.random.default_rng(2)
    hold = 0.004 + random.lognormal(np.log(0.028), 0.3, count)
    outcome = replay(Work(at, hold, np.full(count, 0.005)), Rules(40))
    leases = pd.DataFrame(
        {
            "process": 1,
            "pool": 1,
            "lease": np.arange(count),
            "site": pd.Categorical.from_codes(random.integers(0, 5, count), [f"app.py:{n} f" for n in range(5)]),
            "context": pd.Categorical.from_codes(np.zeros(count, dtype=int), ["buy"]),
            "client": 0,
            "requested_at_s": at,
            "acquired_at_s": outcome.acquired_at_s,
            "ended_at_s": outcome.ended_at_s,
            "wait_time_s": outcome.wait_s,
            "connect_time_s": np.where(outcome.opened, 0.005, 0.0),
            "ping_time_s": 0.0,
            "hold_time_s": hold,
            "end": pd.Categorical.from_codes(np.zeros(count, dtype=int), ["returned"]),
            "fresh": outcome.opened,
            "connection": np.arange(count) % 40 + 1,
        }
    )
    starts = np.concatenate([outcome.acquired_at_s, outcome.ended_at_s - 0.003])
    statements = pd.DataFrame(
        {
            "process": 1,
            "lease": np.tile(np.arange(count), 2),
            "started_at_s": starts,
            "sql_time_s": 0.002,
            "control": False,
        }
    )
    operations = pd.DataFrame({"outcome": ["done"], "process": [1], "transaction": ["buy"], "intended_at_s": [0.0]})
    return Tables(leases, operations, statements)


def main(count: int) -> None:
    """Print one line a measurement."""
    tables = million(count)
    start = time.perf_counter()
    recorded = read_demand(tables.leases, tables.operations)
    assert recorded is not None
    print(f"{recorded.requests:,} leases read as demand: {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    for size in SIZES:
        constant(recorded.demands, Rules(size, 0, 1.0))
    spent = time.perf_counter() - start
    print(f"constant holds, {len(SIZES)} sizes: {spent:.1f} s ({len(SIZES) * recorded.requests / spent / 1e6:.2f} M/s)")
    start = time.perf_counter()
    structure = fit(recorded, tables.statements, 2)
    assert structure is not None
    print(f"structure fitted: {time.perf_counter() - start:.1f} s")
    start, engine = time.perf_counter(), Structural(structure)
    for size in SIZES:
        engine(recorded.demands, Rules(size, 0, 1.0))
    spent = time.perf_counter() - start
    print(f"database model, {len(SIZES)} sizes: {spent:.1f} s ({len(SIZES) * recorded.requests / spent / 1e6:.2f} M/s)")
    start = time.perf_counter()
    sizing = recommend(tables, PoolSettings(40, 0, 1.0, -1, False, False), server=ServerInfo("18", 100, 3, 0, 2))
    print(f"recommendation ({sizing.model}): {time.perf_counter() - start:.1f} s: {sizing.reason}")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
