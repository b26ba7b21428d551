"""Connections are held for very long.

What it detects
    Holds, finished or still open, above the policy's thresholds of hold_time (30 s: tolerated for batch work only;
    300 s: an alert).

Why it matters
    One such hold keeps a slot from hundreds of short ones, keeps a transaction (and its locks, and the server's
    clean-up) open, and pool_recycle cannot end it: that is checked at checkout only.

How to fix it
    Commit in smaller steps and return the connection between them, at the site it names.

When it is wrong
    Batch work, migrations and exports may need it: give them an engine of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.rule import Rule, bands, graded, sites_of, times, where
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds

RULE = Rule("PC301", "long-holds", Severity.WARNING)


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when a hold is above the policy."""
    policy = view.policy
    starts, ends = view.held
    held = np.nan_to_num(np.where(np.isnan(ends), view.length_s, ends) - starts)
    longest = float(held.max(initial=0.0))
    severity = graded(longest, policy.hold_time_warning_s, policy.hold_time_alert_s)
    if severity is None:
        return
    long = held > policy.hold_time_warning_s
    sites = sites_of(view, long, held)
    yield RULE.finding(
        f"{times(int(long.sum()), 'hold')} above {format_seconds(policy.hold_time_warning_s)}, "
        f"the longest {format_seconds(longest)}",
        [
            bands(f"longest hold {format_seconds(longest)}", policy.hold_time_warning_s, policy.hold_time_alert_s),
            f"for batch work, up to {format_seconds(policy.hold_time_batch_s)} are tolerated",
        ],
        f"return the connection between the steps of the work{where(sites)}, or give it an engine of its own",
        severity=severity,
        sites=sites,
    )
