"""pool_timeout is longer than the caller waits, or outside what serves callers.

What it detects
    A pool_timeout above the caller's own timeout (`caller_timeout` of `[thresholds]`, or, where at least five callers
    gave up while they waited, the time after which they did); else one above 30 s or below 5 s.

Why it matters
    Too long: callers give up before the pool does, and their requests go on queueing for nobody. Too short: a burst
    that would have been served in a second becomes errors.

How to fix it
    5 to 10 s for user-facing endpoints, 10 to 30 s for internal services, and never longer than the caller's own
    timeout.

When it is wrong
    A service that sheds load on purpose, or a load test that wants to see timeouts, sets it low knowingly. Callers
    that are cancelled for another reason (a deploy, a closed browser) give up as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from poolctl.analysis.rule import Rule, sites_of, times
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds

RULE = Rule("PC402", "pool-timeout-band", Severity.INFO)
LOW_S = 5.0
HIGH_S = 30.0
GAVE_UP = 5
"""Callers that gave up while they waited, from which their timeout is read off them."""
ALIKE = 0.2
"""… where the middle half of them differs by no more than this share: a timeout, not people."""


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when pool_timeout is above the caller's, or outside the bands."""
    timeout = view.settings.pool_timeout_s
    if timeout is None:
        return
    given_up = view.ended("cancelled") & ~view.acquired
    caller, said = _caller(view, view.column("wait_time_s")[given_up])
    if timeout > caller:
        yield RULE.finding(
            f"pool_timeout of {format_seconds(timeout)} is longer than callers wait ({format_seconds(caller)})",
            [f"pool_timeout {format_seconds(timeout)}; {said}"],
            f"pool_timeout={_below(caller):g}, below the caller's {format_seconds(caller)}",
            severity=Severity.WARNING,
            confidence="high" if math.isfinite(view.policy.caller_timeout_s) else "medium",
            sites=sites_of(view, given_up),
        )
    elif not LOW_S <= timeout <= HIGH_S:
        high = timeout > HIGH_S
        how = "longer" if high else "shorter"
        yield RULE.finding(
            f"pool_timeout of {format_seconds(timeout)} is {how} than callers are served by",
            [f"pool_timeout {format_seconds(timeout)}; usual are {format_seconds(LOW_S)} to {format_seconds(HIGH_S)}"],
            f"pool_timeout={HIGH_S if high else LOW_S:g}, or the caller's own timeout where that is shorter",
            severity=Severity.WARNING if high else Severity.INFO,
            confidence="medium",
        )


def _caller(view: View, waits: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, str]:
    """Return after how long callers give up, in seconds (infinite: not known), and how that is known."""
    if math.isfinite(view.policy.caller_timeout_s):
        return view.policy.caller_timeout_s, f"caller_timeout {format_seconds(view.policy.caller_timeout_s)}"
    waits = waits[~np.isnan(waits)]
    if len(waits) < GAVE_UP:
        return math.inf, ""
    low, middle, high = np.quantile(waits, (0.25, 0.5, 0.75))
    if high - low > ALIKE * middle:
        return math.inf, ""
    return float(middle), f"{times(len(waits), 'caller')} gave up after {format_seconds(float(middle))} of waiting"


def _below(caller: float) -> float:
    """Return a round timeout below the caller's, with time left for the work itself."""
    return math.floor(0.8 * caller) if caller >= 5 else round(0.8 * caller, 1)
