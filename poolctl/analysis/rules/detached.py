"""A connection left the pool with its holder.

What it detects
    Leases that ended with `Connection.detach()`.

Why it matters
    A detached connection no longer counts against the pool, which opens another in its place: the server sees more
    connections than pool_size + max_overflow, and the budget of its max_connections is wrong.

How to fix it
    Keep long-lived work (LISTEN, COPY, replication) on an engine of its own with `poolclass=NullPool` instead of
    detaching, and close it explicitly.

When it is wrong
    A few deliberate detaches at start-up are harmless where the server has room.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule, sites_of, times, where
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity

RULE = Rule("PC103", "detached", Severity.WARNING)


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all detached leases."""
    detached = view.ended("detached")
    count = int(detached.sum())
    if count:
        sites = sites_of(view, detached)
        yield RULE.finding(
            f"{times(count, 'connection')} detached from the pool",
            [f"{times(count, 'lease')} of {len(detached):,} ended detached; threshold 0"],
            f"give the work{where(sites)} an engine of its own with poolclass=NullPool",
            sites=sites,
        )
