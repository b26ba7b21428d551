"""Testing connections on checkout is slow, or keeps failing.

What it detects
    A p95 of ping_time above its threshold, or a share of failed pings (a ping followed by a new connection for the
    same request) above its threshold.

Why it matters
    Pre-ping is a round trip on every checkout. When one fails, SQLAlchemy invalidates every older connection of the
    pool.

How to fix it
    Slow: measure the way to the server, or replace pool_pre_ping by a pool_recycle below the idle timeouts on the
    path. Failing: something on the path closes idle connections: set pool_recycle below its timeout.

When it is wrong
    A restart of the server fails every ping once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.breakdown import time_values
from poolctl.analysis.rule import Rule, bands, graded
from poolctl.analysis.stats import quantile, share_interval
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC305", "slow-validation", Severity.WARNING)


def check(view: View) -> Iterator[Finding]:
    """Yield a finding for slow pings and one for failing ones."""
    policy, pings = view.policy, np.sort(time_values(view, "ping"))
    p95 = quantile(pings, 0.95)
    severity = None if p95 is None else graded(p95, policy.checkout_hook_warning_s, policy.checkout_hook_alert_s)
    if severity is not None:
        yield RULE.finding(
            f"p95 pre-ping is {format_seconds(p95)}",
            [
                bands(
                    f"p95 ping time {format_seconds(p95)}",
                    policy.checkout_hook_warning_s,
                    policy.checkout_hook_alert_s,
                )
            ],
            "pool_pre_ping=False with a pool_recycle below the idle timeouts on the path",
            severity=severity,
        )
    failed = int(((view.column("ping_time_s") > 0) & (view.column("connect_time_s") > 0)).sum())
    share = failed / len(pings) if len(pings) else 0.0
    severity = graded(share, policy.validation_failure_warning, policy.validation_failure_alert)
    if failed and severity is not None:
        low, high = share_interval(failed, len(pings))
        yield RULE.finding(
            f"{failed:,} of {len(pings):,} pre-pings failed ({format_share(share)})",
            [
                bands(
                    f"95 % interval {format_share(low)} to {format_share(high)}",
                    policy.validation_failure_warning,
                    policy.validation_failure_alert,
                    format_share,
                )
            ],
            "set pool_recycle below the lowest idle timeout on the path (server, proxy, firewall)",
            severity=severity,
            confidence="medium",
        )
