"""Requests wait too long for their connection.

What it detects
    A p95 of acquire_time (waiting, connecting and testing together) above its threshold.

Why it matters
    This time is added to every response, and it is the first thing that grows when load rises.

How to fix it
    Where it is waiting: a larger pool_size (see the recommendation) or shorter holds. Where it is connecting: keep
    connections open by moving max_overflow into pool_size. Where it is testing: see PC305.

When it is wrong
    A blocked event loop shows as acquire time too: look at the start lag and the loop's CPU.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.breakdown import time_values
from poolctl.analysis.rule import Rule, bands, graded, sites_of
from poolctl.analysis.stats import quantile
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC202", "slow-acquire", Severity.WARNING)


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when the p95 of the acquire time is above the policy."""
    policy = view.policy
    p95 = quantile(np.sort(time_values(view, "acquire")), 0.95)
    severity = None if p95 is None else graded(p95, policy.acquire_time_warning_s, policy.acquire_time_alert_s)
    if p95 is None or severity is None:
        return
    parts = {
        "waiting": float(np.nansum(view.column("wait_time_s"))),
        "connecting": float(np.nansum(view.column("connect_time_s"))),
        "testing (pre-ping)": float(np.nansum(view.column("ping_time_s"))),
    }
    whole = sum(parts.values()) or 1.0
    most = max(parts, key=lambda name: parts[name])
    advice = {
        "waiting": "raise pool_size as recommended, or shorten the holds of the sites that cause the waiting",
        "connecting": "move max_overflow into pool_size, so that connections stay open",
        "testing (pre-ping)": "switch pool_pre_ping off where the network is reliable, and set pool_recycle instead",
    }[most]
    yield RULE.finding(
        f"p95 acquire time is {format_seconds(p95)}, {format_share(parts[most] / whole)} of it {most}",
        [bands(f"p95 acquire time {format_seconds(p95)}", policy.acquire_time_warning_s, policy.acquire_time_alert_s)],
        advice,
        severity=severity,
        sites=sites_of(view, view.acquired, view.wait_caused_s) if most == "waiting" else [],
    )
