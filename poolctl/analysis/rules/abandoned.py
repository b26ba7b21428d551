"""A connection was dropped and the garbage collector had to clean it up.

What it detects
    Leases whose connection object was collected before anybody returned it.

Why it matters
    The collector runs when it likes: until then the slot is lost. With an async driver the connection cannot even be
    reset there, so it is terminated and the next request pays for a new one.

How to fix it
    Return what is taken: a context manager at the site it names, or `await connection.close()` in a `finally`.

When it is wrong
    At the end of a process everything is collected; a task that is destroyed with its event loop leaves the same trace.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule, bands, sites_of, times, where
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity

RULE = Rule("PC102", "abandoned", Severity.ERROR)


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all abandoned leases."""
    abandoned = view.ended("abandoned")
    count = int(abandoned.sum())
    if count:
        sites = sites_of(view, abandoned)
        per_minute, alert = count / view.length_s * 60, view.policy.leaks_per_minute_alert
        yield RULE.finding(
            f"{times(count, 'connection')} left to the garbage collector",
            [bands(f"{per_minute:.1f} a minute", view.policy.leaks_per_minute_warning, alert, "{:g}".format)],
            f"take the connection{where(sites)} in an `async with` (or `with`) block",
            severity=Severity.CRITICAL if per_minute > alert else Severity.ERROR,
            sites=sites,
        )
