"""Returning a connection takes long.

What it detects
    A p95 of checkin_time (the reset and the listeners on return) above its threshold, and which of the two takes it.

Why it matters
    The slot is not free until the return is done: it is part of every hold, and the caller waits for it too.

How to fix it
    Commit or roll back before returning, so that the reset has nothing to undo; take blocking work out of `checkin` and
    `reset` listeners.

When it is wrong
    A busy event loop stretches everything that awaits, the reset's rollback included: see the loop's CPU.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.breakdown import time_values
from poolctl.analysis.rule import Rule, bands, graded, sites_of, where
from poolctl.analysis.stats import quantile
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC304", "slow-checkin", Severity.WARNING)
RESET_SHARE = 0.5
"""From here on the reset is what takes long, below it the listeners."""


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when the p95 of the checkin time is above the policy."""
    policy = view.policy
    p95 = quantile(np.sort(time_values(view, "checkin")), 0.95)
    severity = None if p95 is None else graded(p95, policy.checkin_time_warning_s, policy.checkin_time_alert_s)
    if p95 is not None and severity is not None:
        took, reset = view.column("checkin_time_s"), view.column("reset_time_s")
        share = float(np.nansum(reset) / np.nansum(took)) if np.nansum(took) > 0 else 0.0
        with np.errstate(invalid="ignore"):
            sites = sites_of(view, took >= p95, np.nan_to_num(took))
        advice = (
            f"commit or roll back{where(sites)} before the return, so that the reset has nothing to undo"
            if share > RESET_SHARE
            else "take blocking work out of the `checkin` and `reset` listeners"
        )
        yield RULE.finding(
            f"p95 checkin time is {format_seconds(p95)}",
            [
                bands(
                    f"p95 checkin time {format_seconds(p95)}",
                    policy.checkin_time_warning_s,
                    policy.checkin_time_alert_s,
                ),
                f"{format_share(share)} of it the reset (rollback); threshold {format_share(RESET_SHARE)}",
            ],
            advice,
            severity=severity,
            confidence="medium",
            sites=sites,
        )
