"""Connections are held while nobody uses them.

What it detects
    Sites (with at least a tenth of all holding) whose connections did nothing for the caller during more than half of
    the hold: the application computed, rendered or called another service meanwhile.

Why it matters
    An idle hold takes a slot from the others exactly as a busy one does. On the server it shows as "idle in
    transaction", with its locks kept. Shorter holds need a smaller pool: often the cheapest way to a faster service.

How to fix it
    Take the connection late and return it early: do the rendering, the HTTP call, the model call after the block that
    holds the connection, at the site it names. Where it also names the line at which the connection was used again, the
    idle part lies before that line.

When it is wrong
    Work that must be inside the transaction (reserve, charge, confirm) has to hold. In a load test the scenario's own
    think time inside the hold was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule, idle_until, named
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC302", "idle-in-hold", Severity.WARNING)
IDLE_SHARE = 0.5
HOLD_SHARE = 0.1


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all sites that hold more than they use."""
    idle = [
        row
        for row in view.sites
        if row.sql_share is not None and 1 - row.sql_share > IDLE_SHARE and (row.hold_share or 0.0) >= HOLD_SHARE
    ]
    if not idle:
        return
    caused = sum(row.wait_caused_s or 0.0 for row in idle)
    evidence = [
        f"{named(row)}: {format_share(1 - (row.sql_share or 0.0))} of its hold idle, "
        f"{format_share(row.hold_share)} of all holding"
        for row in idle[:5]
    ]
    until = idle_until(view, idle[0].site)
    advice = (
        f"return the connection of {idle[0].site} before {until[0]}, and take it again there"
        if until
        else f"take the connection later or return it earlier at {idle[0].site}: what is not SQL belongs outside it"
    )
    yield RULE.finding(
        f"{format_share(1 - (idle[0].sql_share or 0.0))} of the hold is idle at {idle[0].site}",
        [
            *evidence,
            *(f"idle until {line} used it again" for line in until[:3]),
            f"threshold: idle for more than {format_share(IDLE_SHARE)} of the hold",
        ],
        advice,
        severity=Severity.WARNING if caused > 0 else Severity.INFO,
        sites=list(dict.fromkeys(row.site for row in idle)),
    )
