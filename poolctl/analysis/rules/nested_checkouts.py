"""A task asks for a second connection while it holds one.

What it detects
    Requests made by a task that held another connection of the same pool.

Why it matters
    When every connection is held by a task that waits for its second one, nobody can go on: a deadlock that only
    pool_timeout ends. The capacity must be at least tasks × (connections per task − 1) + 1.

How to fix it
    Hand the connection (or the session) down instead of taking another: dependencies, repositories and background
    helpers inside one request should share one.

When it is wrong
    Code that runs several requests under one task id (a hand-written scheduler) looks the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis import sweep
from poolctl.analysis.rule import Rule, sites_of, times, where
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC601", "nested-checkouts", Severity.WARNING)


def floor(view: View) -> tuple[int, int, int]:
    """Return (tasks at once, connections per task, capacity below which they can block each other)."""
    task = view.tables.leases["task"].to_numpy(dtype=np.uint64)[view.order]
    mine = np.isin(task, np.unique(task[view.nested]))
    asked, (_, ends) = view.column("requested_at_s"), view.held
    until = np.where(np.isnan(ends), view.column("ended_at_s"), ends)
    outer = mine & ~view.nested
    tasks = sweep.count(asked[outer], until[outer]).peak
    depth = 1
    for one in np.unique(task[view.nested])[:1000]:
        own = task == one
        depth = max(depth, sweep.count(asked[own], until[own]).peak)
    return max(tasks, 1), max(depth, 2), max(tasks, 1) * (max(depth, 2) - 1) + 1


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all nested requests."""
    nested = view.nested
    count = int(nested.sum())
    if not count:
        return
    tasks, each, least = floor(view)
    capacity = view.capacity
    blocked = int((nested & view.ended("timed_out")).sum())
    tight = capacity is not None and capacity < least
    sites = sites_of(view, nested)
    yield RULE.finding(
        f"{times(count, 'request')} made by a task that already held a connection",
        [
            f"{format_share(count / len(nested))} of the requests; threshold 0",
            f"up to {tasks} such tasks at once with {each} connections each need a capacity of {least}"
            + (f", it is {capacity:g}" if capacity is not None else ""),
            f"{times(blocked, 'nested request')} timed out",
        ],
        f"hand the connection down{where(sites)} instead of taking another, or make the capacity at least {least}",
        severity=Severity.CRITICAL if blocked else Severity.ERROR if tight else Severity.WARNING,
        sites=sites,
    )
