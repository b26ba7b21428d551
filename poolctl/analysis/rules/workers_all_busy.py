"""Every thread that uses the pool is always busy with it, and the pool has connections free.

What it detects
    A sync pool that only a few threads ask, fewer than it has connections, each of which has or wants a connection for
    more than nine tenths of the time, while nobody waits for the pool.

Why it matters
    Work that waits for a thread has not asked the pool yet: no pool can tell of it. Callers wait all the same, and a
    larger pool changes nothing.

How to fix it
    Where these threads serve requests (an executor, `asyncio.to_thread`, a web server's workers): more threads, at most
    as many as the capacity; or shorter holds. Look at the length of the executor's queue to be sure.

When it is wrong
    A batch with a fixed number of workers does exactly this by design, and nobody waits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from poolctl.analysis import sweep
from poolctl.analysis.rule import Rule, sites_of, suffers, where
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC608", "workers-all-busy", Severity.INFO)
BUSY = 0.9
"""Of the time from the first request to the last, for the least busy of the threads."""
EACH = 10
"""Leases a thread, below which it is no worker."""


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when the threads, and not the connections, are what there is too little of."""
    capacity, leases = view.capacity, view.tables.leases
    classes = {pool.pool_class for pool in view.pools}
    if not classes or "QueuePool" not in classes or len(classes) > 1 or capacity is None or suffers(view):
        return
    tasks, of = np.unique(leases["task"].to_numpy(np.uint64)[view.order], return_inverse=True)
    counts = np.bincount(of)
    workers = np.flatnonzero((counts >= EACH) & (tasks != 0))
    if not 2 <= len(workers) < min(capacity, math.inf) or counts[workers].sum() < 0.9 * counts.sum():
        return
    asked, (_, ended) = view.column("requested_at_s"), view.held
    until = np.where(np.isnan(ended), view.length_s, ended)
    mine = np.isin(of, workers)
    first, last = float(asked[mine].min()), float(until[mine].max())
    busy = [_busy(asked[of == worker], until[of == worker]) / max(last - first, 1e-9) for worker in workers]
    if min(busy) <= BUSY:
        return
    count, sites = len(workers), sites_of(view, mine, until - asked)
    yield RULE.finding(
        f"all {count} threads that use the pool were busy with it {format_share(min(busy))} of the time or more",
        [
            f"at most {count} connections can be in use at once, the capacity is {capacity:g}",
            f"threshold {format_share(BUSY)} of the time, for the least busy of them",
            "what waits for a thread has not asked the pool yet: how much of it there is cannot be told from here",
        ],
        f"if these {count} threads serve requests{where(sites)}, give their executor more of them, up to {capacity:g}",
        severity=Severity.INFO,
        confidence="low",
        sites=sites,
    )


def _busy(asked: np.ndarray, until: np.ndarray) -> float:
    some = sweep.count(asked, until)
    return float(np.diff(some.at) @ np.minimum(some.level[:-1], 1)) if len(some.at) > 1 else 0.0
