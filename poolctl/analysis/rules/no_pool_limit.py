"""The engine does not pool, or pools one connection for everybody.

What it detects
    NullPool (opens a connection for every checkout), StaticPool (one connection for everybody), SingletonThreadPool
    (one for each thread) and AssertionPool.

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

from poolctl.analysis.rule import Rule
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity

RULE = Rule("PC403", "no-pool-limit", Severity.WARNING)
WITHOUT = {
    "NullPool": (Severity.WARNING, "opens a connection for every checkout"),
    "StaticPool": (Severity.ERROR, "shares one connection among all tasks"),
    "SingletonThreadPool": (Severity.WARNING, "keeps one connection for each thread"),
    "AssertionPool": (Severity.WARNING, "allows one checkout at a time"),
}


def check(view: View) -> Iterator[Finding]:
    """Yield a finding for each pool class in use that cannot be sized."""
    classes = dict.fromkeys([pool.pool_class for pool in view.pools] or [view.target.pool_class])
    for name in classes:
        if name in WITHOUT:
            severity, what = WITHOUT[name]
            opened = f"{view.opened:,} connections were opened for {int(view.acquired.sum()):,} checkouts"
            yield RULE.finding(
                f"{name} {what}", [opened], "leave poolclass out and set pool_size as recommended", severity=severity
            )
