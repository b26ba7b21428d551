"""pool_timeout is outside what serves callers.

What it detects
    A pool_timeout above 30 s, or below 5 s.

Why it matters
    Too long: callers give up before the pool does, and their requests go on queueing for nobody. Too short: a burst
    that would have been served in a second becomes errors.

How to fix it
    5 to 10 s for user-facing endpoints, 10 to 30 s for internal services, and never longer than the caller's own
    timeout.

When it is wrong
    A service that sheds load on purpose, or a load test that wants to see timeouts, sets it low knowingly.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds

RULE = Rule("PC402", "pool-timeout-band", Severity.INFO)
LOW_S = 5.0
HIGH_S = 30.0


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when pool_timeout is outside the bands."""
    timeout = view.settings.pool_timeout_s
    if timeout is None or LOW_S <= timeout <= HIGH_S:
        return
    high = timeout > HIGH_S
    yield RULE.finding(
        f"pool_timeout of {format_seconds(timeout)} is {'longer' if high else 'shorter'} than callers are served by",
        [f"pool_timeout {format_seconds(timeout)}; usual are {format_seconds(LOW_S)} to {format_seconds(HIGH_S)}"],
        f"pool_timeout={HIGH_S if high else LOW_S:g}, or the caller's own timeout where that is shorter",
        severity=Severity.WARNING if high else Severity.INFO,
        confidence="medium",
    )
