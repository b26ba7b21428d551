"""Connections are opened and closed over and over.

What it detects
    More than 1 % of the checkouts opening a connection, beyond those that were open at the peak anyway.

Why it matters
    A connection costs several milliseconds of the server's and the caller's time, and its first statements are
    slower. The slot is taken meanwhile: churn makes the pool smaller than it is.

How to fix it
    Turn overflow into pool_size, so that connections stay open between bursts; check that pool_recycle is not far
    below the idle timeouts on the path.

When it is wrong
    After a failover or a restart of the server every connection is opened again, once. NullPool opens one each time
    by design (PC403), an engine per request by mistake (PC604).
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.breakdown import time_values
from poolctl.analysis.rule import Rule
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC204", "overflow-churn", Severity.WARNING)
SHARE = 0.01
FEWEST = 10
"""Connections. Below this there is no pattern."""


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when more connections were opened than the peak explains."""
    size = view.settings.pool_size
    checkouts = int(view.acquired.sum())
    if not size or not checkouts or view.capacity is None:  # an engine per request churns for another reason (PC604)
        return
    again = view.opened - max(view.checked_out.peak, 1)
    if again < FEWEST or again / checkouts <= SHARE:
        return
    peak = -(-view.checked_out.peak // max(1, len(view.pool_keys[1])))
    paid = time_values(view, "connect")
    price = f", {format_seconds(float(paid.mean()))} each on average" if len(paid) else ""
    yield RULE.finding(
        f"{again:,} connections were opened again: {format_share(again / checkouts)} of the checkouts",
        [
            f"{view.opened:,} opened for a peak of {view.checked_out.peak} held at once, in {checkouts:,} checkouts",
            f"{1000 * view.opened / checkouts:.0f} connects per 1,000 checkouts, each paid by a caller{price}",
            f"threshold {format_share(SHARE)} of the checkouts beyond what the peak explains",
        ],
        f"pool_size={max(size, peak)}, so that connections stay open (now {size})",
        confidence="high" if view.overflow.peak else "medium",
    )
