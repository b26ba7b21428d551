"""The pool keeps far more connections than are used.

What it detects
    A peak of connections held at once that is below the policy's share of those the pool keeps (pool_size, or the
    peak where overflow was in use), with at least five to spare.

Why it matters
    Every connection is a process with its memory on the server, and counts against max_connections, which other
    services need too. A pool that is too large also hides leaks and lets the database be overrun.

How to fix it
    Lower pool_size to the recommended size.

When it is wrong
    A run without the daily peak says nothing about the peak.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC205", "oversized", Severity.WARNING)
SPARE = 5


def kept(view: View) -> int | None:
    """Return how many connections the pools keep once they were needed; None where there is no such number."""
    size = view.settings.pool_size
    return size * max(1, len(view.pool_keys[1])) if size and view.capacity is not None else None


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when the peak is far below what the pool keeps."""
    keeps, peak = kept(view), view.checked_out.peak
    if keeps is None or not peak or peak >= view.policy.active_ratio_low * keeps or keeps - peak < SPARE:
        return
    processes = max(1, len(view.pool_keys[1]))
    yield RULE.finding(
        f"at most {peak} of {keeps} connections were in use at once",
        [f"{format_share(peak / keeps)} at the peak; oversized below {format_share(view.policy.active_ratio_low)}"],
        f"lower pool_size towards {-(-peak // processes) + 1} (now {view.settings.pool_size}), as recommended",
    )
