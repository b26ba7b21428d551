"""Requests for a connection timed out.

What it detects
    Requests that pool_timeout refused (`sqlalchemy.exc.TimeoutError`, QueuePool limit … reached).

Why it matters
    Each is an error that a user saw, after waiting for the whole pool_timeout.

How to fix it
    The verdict says why the pool was exhausted: too small (take the recommended pool_size), a leak (PC101), holds
    that are too long (PC301, PC302), or a slow database. A longer pool_timeout only makes the failure slower.

When it is wrong
    A deliberately short pool_timeout that sheds load makes timeouts on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.holders import holders
from poolctl.analysis.rule import Rule, sites_of, times
from poolctl.analysis.stats import share_interval
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC201", "timeouts", Severity.ERROR)


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all requests that timed out."""
    refused = view.ended("timed_out")
    count, total = int(refused.sum()), len(refused)
    if not count:
        return
    low, high = share_interval(count, total)
    timeout = view.settings.pool_timeout_s
    first = float(np.nanmin(view.column("ended_at_s")[refused]))
    yield RULE.finding(
        f"{times(count, 'request')} of {total:,} timed out waiting for a connection ({format_share(count / total)})",
        [
            f"timeout rate, 95 % interval: {format_share(low)} to {format_share(high)}; threshold 0",
            f"pool_timeout is {format_seconds(timeout)}; up to {view.waiting.peak} requests waited at once",
            f"when the first one gave up, at {first:.2f} s, connections were",
            *holders(view, first, most=3),
        ],
        "raise pool_size as recommended, or shorten the holds of the sites that cause the waiting",
        sites=sites_of(view, view.acquired, view.wait_caused_s),
    )
