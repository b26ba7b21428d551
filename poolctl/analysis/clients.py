"""Clients: whether requests come by themselves, or from clients that wait for each answer; and tasks that nest.

In: the lease table. Out: two tests and a floor. A starved closed loop looks like a calm open one (its clients are
waiting, so they do not ask), and a replay of its instants is optimistic; a roomy one replayed at a small size is
pessimistic.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from poolctl.analysis.pool_rules import Floats

ENOUGH = 20
"""Requests that a task must make in the mean before it counts as a client in a loop."""
FOLLOWS = 0.2
"""Correlation of a wait with the time until the same task's next request: about 0 where requests come by themselves."""
PLATEAU, VISITS = 0.02, 20
"""Share of the time at exactly the largest population, and how often it is reached, from which a cap, not chance, is
behind it: an open queue reaches its highest point a handful of times."""


def closed_by_task(leases: pd.DataFrame) -> bool:
    """Whether few tasks make all requests, one after the other, and ask later when they waited longer."""
    if "task" not in leases or leases["task"].nunique() * ENOUGH > len(leases):
        return False
    task = pd.factorize(leases["task"])[0]
    at, ended = _instants(leases)
    order = np.lexsort((at, task))
    same = task[order][1:] == task[order][:-1]
    overlapping = same & (at[order][1:] < ended[order][:-1] - 1e-6)
    if overlapping.mean() > 0.01:
        return False
    wait = np.nan_to_num(leases["wait_time_s"].to_numpy(dtype=np.float64))[order][:-1][same]
    gap = np.diff(at[order])[same]
    if len(wait) < ENOUGH or wait.std() < 1e-4 or gap.std() == 0:
        return False
    return float(np.corrcoef(wait, gap)[0, 1]) > FOLLOWS


def population_is_capped(leases: pd.DataFrame, capacity: float | None) -> bool:
    """Whether the requests in the pool (held or waiting) stay for long at exactly their maximum, above the capacity."""
    if capacity is None or not np.isfinite(capacity):
        return False
    at, ended = _instants(leases)
    instants = np.concatenate([at, ended])
    order = np.argsort(instants, kind="stable")
    present = np.cumsum(np.concatenate([np.ones(len(at)), -np.ones(len(ended))])[order])
    length = np.diff(instants[order], append=instants[order][-1])
    most = present.max()
    there = present == most
    return bool(most > capacity + 1 and there.sum() >= VISITS and length[there].sum() > PLATEAU * length.sum())


def deadlock_floor(leases: pd.DataFrame) -> int:
    """Return the capacity below which tasks that hold several connections at once can block each other; 1 without.

    FIELD.md section 4: tasks at once × (connections per task − 1) + 1. A task's second request counts while its first
    lease lasts, waiting included.
    """
    if "task" not in leases or not (leases["task"] != 0).any():
        return 1
    known = leases[leases["task"] != 0]
    at, ended = _instants(known)
    task = pd.factorize(known["task"])[0]
    owner, instants = np.tile(task, 2), np.concatenate([at, ended])
    step = np.repeat([1, -1], len(at))
    # Sorted by task and instant, returns first: every task begins and ends with none, so one running sum serves all.
    order = np.lexsort((step, instants, owner))
    depth = np.cumsum(step[order])
    deepest = int(depth.max(initial=1))
    if deepest < 2:
        return 1
    nests = np.isin(owner[order], np.unique(owner[order][depth > 1]))
    outer = nests & (((depth == 1) & (step[order] > 0)) | ((depth == 0) & (step[order] < 0)))
    when, change = instants[order][outer], step[order][outer]
    tasks = int(np.cumsum(change[np.lexsort((change, when))]).max())
    return tasks * (deepest - 1) + 1


def _instants(leases: pd.DataFrame) -> tuple[Floats, Floats]:
    """Requests, and their ends; what has no end lasts until the last instant known."""
    at = leases["requested_at_s"].to_numpy(dtype=np.float64)
    ended = leases["ended_at_s"].to_numpy(dtype=np.float64)
    return at, np.where(np.isnan(ended), max(np.nanmax(at), np.nanmax(ended, initial=0.0)), ended)
