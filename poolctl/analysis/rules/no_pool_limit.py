"""The engine does not pool, or pools one connection for everybody.

What it detects
    NullPool (opens a connection for every checkout), StaticPool (one connection for everybody), SingletonThreadPool
    (one for each thread) and AssertionPool. Where it did no harm in this run it is only noted: connections that cost
    little, nobody at the same time.

Why it matters
    NullPool pays for a connection each time and puts no limit on them. StaticPool lets tasks share one connection and
    its transaction. None of them can be sized, and what was measured here says nothing about a pool that can.

How to fix it
    Leave poolclass out: an async engine then gets AsyncAdaptedQueuePool, a sync one QueuePool.

When it is wrong
    NullPool is right behind a pooler such as PgBouncer, and for rare batch work. StaticPool is right for an in-memory
    SQLite in tests.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.breakdown import time_values
from poolctl.analysis.rule import Rule, times
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC403", "no-pool-limit", Severity.WARNING)
WITHOUT = {
    "NullPool": (Severity.WARNING, "opens a connection for every checkout"),
    "StaticPool": (Severity.ERROR, "shares one connection among all tasks"),
    "SingletonThreadPool": (Severity.WARNING, "keeps one connection for each thread"),
    "AssertionPool": (Severity.WARNING, "allows one checkout at a time"),
}


CONNECT_SHARE = 0.2
"""Of the time of a request and its hold that opening its connection may take."""
SINGLETONS = 5
"""Threads that SingletonThreadPool keeps connections for (its pool_size); beyond it, it closes one in use."""


def check(view: View) -> Iterator[Finding]:
    """Yield a finding for each pool class in use that cannot be sized."""
    classes = dict.fromkeys([pool.pool_class for pool in view.pools] or [view.target.pool_class])
    for name in classes:
        if name in WITHOUT:
            severity, what = WITHOUT[name]
            opened = f"{view.opened:,} connections were opened for {int(view.acquired.sum()):,} checkouts"
            harm = _harm(view, name)
            yield RULE.finding(
                f"{name} {what}",
                [opened, harm or f"no harm seen; threshold {_LIMITS[name]}"],
                "leave poolclass out and set pool_size as recommended",
                severity=severity if harm or not len(view.order) else Severity.INFO,
            )


def _harm(view: View, name: str) -> str:
    """Return what the pool class cost in this run; empty where that was nothing."""
    peak = view.checked_out.peak
    if name == "NullPool":
        connects = float(time_values(view, "connect").sum())
        share = connects / max(connects + float(np.nansum(view.column("hold_time_s"))), 1e-9)
        price = f"{format_seconds(connects)} spent on opening, {format_share(share)} of the time"
        return f"{price}; threshold {_LIMITS[name]}" if share > CONNECT_SHARE else ""
    if name == "SingletonThreadPool":
        return f"{times(peak, 'thread')} at once; threshold {_LIMITS[name]}" if peak > SINGLETONS else ""
    return f"{peak} holders at once; threshold {_LIMITS[name]}" if peak > 1 or view.ended("failed").any() else ""


_LIMITS = {
    "NullPool": f"{format_share(CONNECT_SHARE)} of the time",
    "StaticPool": "1 holder at once",
    "SingletonThreadPool": f"{SINGLETONS} threads at once",
    "AssertionPool": "1 holder at once",
}
"""From where on each of them hurts."""
