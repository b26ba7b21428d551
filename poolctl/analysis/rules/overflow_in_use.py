"""The pool lives on its overflow.

What it detects
    More than the policy's share of max_overflow open at once. It names who held the connections when most were open:
    since when, at which line.

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

from poolctl.analysis.holders import holders
from poolctl.analysis.rule import Rule, bands, sites_of, suffers
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
    at_s = _moment(view)
    starts, ends = view.held
    with np.errstate(invalid="ignore"):
        there = (starts <= at_s) & (np.isnan(ends) | (ends > at_s))
    each = -(-peak // max(1, len(view.pool_keys[1])))
    yield RULE.finding(
        f"{peak} of {allowed} overflow connections were open at once",
        [
            bands(
                f"{format_share(used)} of max_overflow", policy.overflow_warning, policy.overflow_alert, format_share
            ),
            f"at {at_s:.2f} s, with {peak} of the overflow open, connections were",
            *holders(view, at_s),
        ],
        f"pool_size={settings.pool_size + each}, max_overflow={max(0, (settings.max_overflow or 0) - each)}: "
        "the same total, kept open",
        severity=Severity.ERROR if used >= policy.overflow_alert and suffers(view) else Severity.WARNING,
        sites=sites_of(view, there, np.nan_to_num(np.minimum(ends, view.length_s) - starts)),
    )


def _moment(view: View) -> float:
    """Return the second at which most connections were held while most of the overflow was open.

    A connection is open before its request has it in hands: at the very first instant of the peak few would be held.
    """
    steps, held = view.overflow, view.checked_out
    first = int(np.argmax(steps.level))
    begin = float(steps.at[first])
    until = float(steps.at[first + 1]) if first + 1 < len(steps.at) else view.length_s
    inside = np.append(begin, held.at[(held.at > begin) & (held.at < until)])
    return float(inside[int(np.argmax(held.at_instants(inside)))])
