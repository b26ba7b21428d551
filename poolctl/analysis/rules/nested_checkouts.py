"""A task asks for a second connection while it holds one.

What it detects
    Requests made by a task that held another connection of the same pool.

Why it matters
    When every connection is held by a task that waits for its second one, nobody can go on: a deadlock that only
    pool_timeout ends. The capacity must be at least tasks × (connections per task − 1) + 1. It names both places: which
    held, which asked, each with the stack it was first seen with.

How to fix it
    Hand the connection (or the session) down instead of taking another: dependencies, repositories and background
    helpers inside one request should share one.

When it is wrong
    Code that runs several requests under one task id (a hand-written scheduler) looks the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np

from poolctl.analysis import sweep
from poolctl.analysis.rule import Rule, sites_of, times, where
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC601", "nested-checkouts", Severity.WARNING)
MOST = 200
"""Nested requests whose outer connection is looked for."""


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
            f"floor: tasks × (connections per task − 1) + 1 = {tasks} × ({each} − 1) + 1 = {least}"
            + (f", the capacity is {capacity:g}" if capacity is not None and math.isfinite(capacity) else ""),
            f"{times(blocked, 'nested request')} timed out",
            *_places(view),
        ],
        f"hand the connection down{where(sites)} instead of taking another, or make the capacity at least {least}",
        severity=Severity.CRITICAL if blocked else Severity.ERROR if tight else Severity.WARNING,
        sites=sites,
    )


def _places(view: View) -> list[str]:
    """Return where the outer connection was taken and where the inner one was asked for, the most frequent pair."""
    site, names = view.codes("site")
    pairs = Counter((site[outer], site[inner]) for outer, inner in _pairs(view))
    if not pairs:
        return []
    (outer, inner), _ = pairs.most_common(1)[0]
    found = []
    for what, number in (("holds", outer), ("asks again", inner)):
        if number >= 0:
            found.append(f"{what}: {' < '.join(view.tables.told.stacks.get(names[number]) or [names[number]])}")
    return found


def _pairs(view: View) -> list[tuple[int, int]]:
    """Return (lease that its task held, lease that it asked for meanwhile), of the first nested requests."""
    numbers, _ = view.pool_keys
    task = view.tables.leases["task"].to_numpy(dtype=np.uint64)[view.order]
    asked, (starts, ends) = view.column("requested_at_s"), view.held
    pairs = []
    for inner in np.flatnonzero(view.nested)[:MOST]:
        with np.errstate(invalid="ignore"):
            held = (task == task[inner]) & (numbers == numbers[inner]) & (starts <= asked[inner])
            held &= np.isnan(ends) | (ends > asked[inner])
        held[inner] = False
        outer = np.flatnonzero(held)
        if len(outer):
            pairs.append((int(outer[-1]), int(inner)))
    return pairs
