"""A connection was taken and never returned.

What it detects
    Leases that are still open although the operation that took them is over, or that have been open for longer than
    three times the longest finished hold of their site (at least 5 s; where the site never finished a hold, the
    warning threshold of hold_time; at the latest its alert threshold).

Why it matters
    Each leaked connection makes the pool smaller for good. When the last one is gone, every request waits for
    pool_timeout and fails. A bigger pool only takes longer to run dry.

How to fix it
    Take connections with a context manager (`async with engine.connect() as connection:`, `with Session() as
    session:`) at the site it names, so that every way out of the block returns them.

When it is wrong
    A hold that is meant to be longer than all others of its site (a migration, a LISTEN connection) looks the same:
    give it an engine of its own. Where records were lost (PC901), the lost one may be the return.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule, bands, sites_of, times, where
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds

RULE = Rule("PC101", "open-beyond-leak-threshold", Severity.ERROR)


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all open leases that nobody will return."""
    leaked = view.leaked & view.open
    count = int(leaked.sum())
    if not count:
        return
    age = view.length_s - view.column("acquired_at_s")[leaked]
    outlived = int(view.outlived[leaked].sum())
    per_minute = count / view.length_s * 60
    alert = view.policy.leaks_per_minute_alert
    sites = sites_of(view, leaked)
    threshold = float(view.leak_threshold_s[leaked].min())
    evidence = [
        f"open for up to {format_seconds(float(age.max()))}; threshold here {format_seconds(threshold)}",
        bands(f"{per_minute:.1f} leaks a minute", view.policy.leaks_per_minute_warning, alert, "{:g}".format),
    ]
    if outlived:
        evidence.append(f"{times(outlived, 'lease')} outlived the operation that took the connection")
    yield RULE.finding(
        f"{times(count, 'connection')} taken and never returned",
        evidence,
        f"take the connection{where(sites)} in an `async with` (or `with`) block, so that it returns on every way out",
        severity=Severity.CRITICAL if per_minute > alert else Severity.ERROR,
        confidence="high" if outlived and not view.tables.capture.dropped else "medium",
        sites=sites,
    )
