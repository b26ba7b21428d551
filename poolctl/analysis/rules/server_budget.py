"""The pools together may open more connections than the server allows.

What it detects
    Processes × (pool_size + max_overflow) above max_connections − reserved − the sessions of others.

Why it matters
    When all pools are full at once the server refuses: "too many clients already", for everybody who shares it. A
    rolling deploy runs old and new processes side by side, and needs twice the budget.

How to fix it
    Fewer or smaller pools: the advice names the capacity that fits. Or a pooler (PgBouncer) in front of the server.

When it is wrong
    Other sessions were counted once, when the run began. Where a pooler is in between, its limit counts, not the
    server's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from poolctl.analysis.rule import Rule
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity

RULE = Rule("PC501", "server-budget", Severity.ERROR)


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when the pools may ask for more than the server has."""
    server, each = view.target.server, view.settings.capacity
    if server.max_connections is None or each is None or not math.isfinite(each):
        return
    processes = max(1, len(view.pool_keys[1]))
    reserved, others = server.reserved_connections or 0, server.in_use or 0
    budget = server.max_connections - reserved - others
    if processes * each <= budget:
        return
    yield RULE.finding(
        f"{processes} × {each:g} connections may be asked for, {budget} are there",
        [
            f"max_connections {server.max_connections} − {reserved} reserved − {others} of others = {budget}",
            f"the pools may open {processes * each:g}",
        ],
        f"pool_size + max_overflow ≤ {max(1, budget // processes)} a process (half of it with rolling deploys)",
    )
