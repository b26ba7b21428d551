"""Pool metrics: gauges, counters and histograms of each pool, for those who collect such numbers.

In: a View. Out: `PoolMetrics`, by the name of the pool. Judges nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from poolctl.analysis import sweep
from poolctl.analysis.leases import Pool
from poolctl.analysis.occupancy import slice_edges
from poolctl.analysis.sweep import Floats, Steps
from poolctl.analysis.view import Bools, View
from poolctl.trace.pool_metrics import Histogram, PoolMetrics, PoolState

BOUNDS_S = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0]
"""OpenTelemetry's advice for the duration of a database client's operations, and a default pool_timeout."""
MOST = 50
"""Names told apart; more come from names that are made up, and the rest is left out."""


def pool_metrics(view: View) -> list[PoolMetrics]:
    """Return the metrics of every pool that was asked, the busiest first."""
    numbers, keys = view.pool_keys
    known = {(pool.process, pool.engine or str(pool.number)): pool for pool in view.tables.pools}
    named: dict[str, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        named[_name(known.get(key), view)].append(number)
    found = [_of(name, mine, np.isin(numbers, mine), view, known) for name, mine in named.items()]
    return sorted(found, key=lambda one: -one.checkouts)[:MOST]


def _of(name: str, mine: list[int], rows: Bools, view: View, known: dict[tuple[int, str], Pool]) -> PoolMetrics:
    keys = [view.pool_keys[1][number] for number in mine]
    settings = [known[key].settings for key in keys if key in known] or [view.settings]
    limits = [one.capacity for one in settings]
    limited = [int(one) for one in limits if one is not None and math.isfinite(one)]
    sizes = [one.pool_size for one in settings if one.pool_size]
    events = view.tables.connections
    distinct = set(keys)
    pools = {
        (pool.process, pool.number)
        for pool in view.tables.pools
        if (pool.process, pool.engine or str(pool.number)) in distinct
    }
    ours = np.array([pair in pools for pair in zip(events["process"], events["pool"], strict=True)], np.bool_)
    kinds = events["event"].astype(str).to_numpy()
    acquired, ended = view.acquired & rows, view.ended("returned", "invalidated", "cancelled", "abandoned") & rows
    return PoolMetrics(
        name=name,
        processes=len({key[0] for key in keys}),
        max=sum(limited) if limited and len(limited) == len(limits) else None,
        idle_max=sum(sizes) if sizes else None,
        checkouts=int(acquired.sum()),
        checkins=int((ended & view.acquired).sum()),
        connects=int((ours & (kinds == "opened")).sum()),
        closes=int((ours & (kinds == "closed")).sum()),
        timeouts=int((view.ended("timed_out") & rows).sum()),
        create_time_s=histogram(events["time_s"].to_numpy(dtype=np.float64)[ours & (kinds == "opened")]),
        wait_time_s=histogram(view.column("acquire_time_s")[acquired]),
        use_time_s=histogram(view.column("hold_time_s")[rows]),
        series=_series(view, keys, rows),
    )


def _series(view: View, keys: list[tuple[int, str]], rows: Bools) -> list[PoolState]:
    edges = slice_edges(view.length_s)[1:]
    edges[-1] = view.length_s
    (starts, ends), (asked, got) = view.held, view.queued
    used = sweep.count(starts[rows], ends[rows]).at_instants(edges)
    opened = _total([view.opened_by(key) for key in keys])
    idle = None if opened is None or "overflow" in view.untold else np.maximum(opened.at_instants(edges) - used, 0)
    pending = None if "waiting" in view.untold else sweep.count(asked[rows], got[rows]).at_instants(edges)
    return [
        PoolState(
            float(at),
            int(used[i]),
            None if idle is None else int(idle[i]),
            None if pending is None else int(pending[i]),
        )
        for i, at in enumerate(edges)
    ]


def _total(parts: list[Steps | None]) -> Steps | None:
    known = [part for part in parts if part is not None]
    return sweep.total(known) if known and len(known) == len(parts) else None


def histogram(values: Floats) -> Histogram:
    """Return the histogram of times in seconds; NaN means "has none"."""
    made = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(BOUNDS_S, made, side="left"), minlength=len(BOUNDS_S) + 1)
    ends = (float(made.min()), float(made.max())) if len(made) else (None, None)
    return Histogram(list(BOUNDS_S), [int(count) for count in counts], float(made.sum()), *ends)


def _name(pool: Pool | None, view: View) -> str:
    """Return the name of a pool by OpenTelemetry's rules: its own, else `server.address:server.port/db.namespace`."""
    if pool is not None and pool.name:
        return pool.name
    if pool is not None and "://" in pool.url:
        return pool.url.partition("://")[2].rpartition("@")[2]
    return f"{view.target.dialect}+{view.target.driver}"
