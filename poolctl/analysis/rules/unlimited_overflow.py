"""The pool has no upper limit.

What it detects
    max_overflow=-1, or pool_size=0: SQLAlchemy then opens a connection for every request that finds none idle.

Why it matters
    Nothing queues in the application any more: a burst goes straight to the server, which refuses when its
    max_connections are used up, for every service that shares it.

How to fix it
    Set pool_size to the recommended size and max_overflow to a number.

When it is wrong
    Behind a pooler that queues (PgBouncer), the limit may be there; NullPool says so more plainly.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity

RULE = Rule("PC401", "unlimited-overflow", Severity.WARNING)


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when the settings put no limit."""
    if view.settings.capacity == float("inf"):
        peak = max(1, view.checked_out.peak)
        yield RULE.finding(
            f"no limit: pool_size={view.settings.pool_size}, max_overflow={view.settings.max_overflow}",
            [f"{peak} were held at once; a limit is a pool_size above 0 and a max_overflow of 0 or more"],
            f"pool_size={peak}, max_overflow={peak // 2}, or as recommended",
        )
