"""The pool lives on its overflow.

What it detects
    More than the policy's share of max_overflow open at once.

Why it matters
    Overflow is the safety valve: connections beyond pool_size are opened while a request waits for them and closed when
    they come back. When it is used up, the next request queues.

How to fix it
    Raise pool_size by the overflow that was in use and lower max_overflow by as much: the total stays the same, the
    connections stay open.

When it is wrong
    A rare spike that the overflow was meant for uses it as intended.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.breakdown import time_values
from poolctl.analysis.rule import Rule, bands
from poolctl.analysis.stats import quantile
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC203", "overflow-in-use", Severity.WARNING)


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when overflow beyond the policy was in use."""
    settings, policy = view.settings, view.policy
    allowed = (settings.max_overflow or 0) * max(1, len(view.pool_keys[1]))
    if allowed <= 0 or not settings.pool_size:
        return
    peak = view.overflow.peak
    used = peak / allowed
    if used <= policy.overflow_warning:
        return
    each = -(-peak // max(1, len(view.pool_keys[1])))
    yield RULE.finding(
        f"{peak} of {allowed} overflow connections were open at once",
        [bands(f"{format_share(used)} of max_overflow", policy.overflow_warning, policy.overflow_alert, format_share)],
        f"pool_size={settings.pool_size + each}, max_overflow={max(0, (settings.max_overflow or 0) - each)}: "
        "the same total, kept open",
        severity=Severity.ERROR if used >= policy.overflow_alert and _short(view) else Severity.WARNING,
    )


def _short(view: View) -> bool:
    """Whether requests suffered: a safety valve that was opened fully, and sufficed, did its work."""
    p95 = quantile(np.sort(time_values(view, "acquire")), 0.95)
    return view.timed_out > 0 or (p95 is not None and p95 > view.policy.acquire_time_warning_s)
