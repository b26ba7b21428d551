"""One line of code causes most of the waiting.

What it detects
    A site and context that held connections during more than half of the others' waiting (shared out evenly among those
    who held at the time), and during half as much again as its share of the checkouts would explain.

Why it matters
    The pool is not too small for the load but for this one holder: shortening its holds helps everybody.

How to fix it
    Shorten the hold at the site it names (see its idle share and its SQL), or give that work a pool of its own.

When it is wrong
    Holders that are long because the database is slow for everybody are victims too: compare their sql share.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC303", "one-site-causes-waiting", Severity.WARNING)
SHARE = 0.5
BEYOND = 1.5
LEAST_S = 1.0
"""Seconds of waiting. Below this there is nothing to share out."""


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when one site stands out among the causes of waiting."""
    rows = view.sites
    total = sum(row.wait_caused_s or 0.0 for row in rows)
    if total < LEAST_S or len(rows) < 2:
        return
    worst = max(rows, key=lambda row: row.wait_caused_s or 0.0)
    share, leases = (worst.wait_caused_s or 0.0) / total, worst.leases / max(1, sum(row.leases for row in rows))
    if share <= SHARE or share < BEYOND * leases:
        return
    yield RULE.finding(
        f"{format_share(share)} of the waiting was caused by {worst.site} ({worst.context})",
        [
            f"{format_seconds(worst.wait_caused_s)} of {format_seconds(total)} waited; threshold {format_share(SHARE)}",
            f"it has {format_share(leases)} of the leases",
            f"its p95 hold time is {format_seconds(worst.hold_time_s.p95)}, sql share {format_share(worst.sql_share)}",
        ],
        f"shorten the hold at {worst.site}, or give it an engine of its own",
        sites=[worst.site],
    )
