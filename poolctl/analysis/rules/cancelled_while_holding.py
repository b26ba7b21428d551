"""A task was cancelled while it held a connection.

What it detects
    Leases that ended by cancellation after the checkout. Those that ended in the last second of a run, when the load
    is stopped, are left out.

Why it matters
    A cancelled statement leaves the connection in an unknown state: SQLAlchemy closes it, and the next request pays
    for a new one, while the server may still work on the old statement.

How to fix it
    Let the database give up before the caller does: `statement_timeout` (PostgreSQL) below the request's own timeout.
    Protect what must be finished with `asyncio.shield`.

When it is wrong
    Clients that really go away (a closed browser) cancel too; then it is a cost to know, not a defect.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.rule import Rule, sites_of, times
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC104", "cancelled-while-holding", Severity.WARNING)
AT_THE_END_S = 1.0


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all leases cancelled while they held."""
    planned = float(view.tables.meta.get("duration_s") or np.inf)
    stop = min(view.length_s, planned) - AT_THE_END_S
    cancelled = view.ended("cancelled") & view.acquired & (np.nan_to_num(view.column("ended_at_s")) < stop)
    count = int(cancelled.sum())
    if count:
        yield RULE.finding(
            f"{times(count, 'lease')} cancelled while holding a connection",
            [f"{format_share(count / max(1, int(view.acquired.sum())))} of the checkouts; threshold 0"],
            "set statement_timeout below the caller's own timeout, so that the database gives up first",
            sites=sites_of(view, cancelled),
        )
