"""The pool is nearly always full.

What it detects
    A mean of connections held above the policy's share of the capacity. While nobody waits it is only noted.

Why it matters
    Waiting grows without bound as utilisation nears one: a little more load, or holds a little longer, and requests
    queue.

How to fix it
    Raise pool_size, or shorten the holds that fill it (the site table names them).

When it is wrong
    A batch with a fixed number of workers keeps as many connections busy as there are workers, and nobody waits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from poolctl.analysis.rule import Rule, bands, graded, sites_of, suffers
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC206", "utilisation-high", Severity.WARNING)


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when the mean occupancy is above the policy."""
    capacity, policy = view.capacity, view.policy
    if not capacity or not math.isfinite(capacity):
        return
    mean = float(view.checked_out.means(np.array([0.0, view.length_s]))[0])
    severity = graded(mean / capacity, policy.active_ratio_warning, policy.active_ratio_alert)
    if severity is not None:
        held = np.nan_to_num(view.column("hold_time_s"))
        yield RULE.finding(
            f"{format_share(mean / capacity)} of the pool was in use on average",
            [
                bands(
                    f"{mean:.1f} of {capacity:g} connections held on average",
                    policy.active_ratio_warning,
                    policy.active_ratio_alert,
                    format_share,
                )
            ],
            "raise pool_size as recommended, or shorten the holds",
            severity=severity if suffers(view) else Severity.INFO,
            sites=sites_of(view, view.acquired, held),
        )
