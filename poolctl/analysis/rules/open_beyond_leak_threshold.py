"""A connection was taken and never returned.

What it detects
    Leases that are still open although the operation that took them is over, or that have been open for longer than
    three times the longest finished hold of their site (at least 5 s). Where the site never finished a hold: the
    warning threshold of hold_time, or, where the server shows the connection idle, three times the longest finished
    hold of all. At the latest its alert threshold. One that comes back within the window is retracted: it is counted,
    and no longer called a leak.

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

import numpy as np

from poolctl.analysis.rule import Rule, bands, sites_of, times, where
from poolctl.analysis.view import LEAK_FLOOR_S, LEAK_TIMES, View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds

RULE = Rule("PC101", "open-beyond-leak-threshold", Severity.ERROR)
MOST = 1_000
"""Late returns that are looked at."""


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
    retracted = _retracted(view)
    if retracted:
        evidence.append(
            f"retracted: {times(retracted, 'lease')} that looked leaked too and came back within the window"
        )
    yield RULE.finding(
        f"{times(count, 'connection')} taken and never returned",
        evidence,
        f"take the connection{where(sites)} in an `async with` (or `with`) block, so that it returns on every way out",
        severity=Severity.CRITICAL if per_minute > alert else Severity.ERROR,
        confidence="high" if outlived and not view.tables.capture.dropped else "medium",
        sites=sites,
    )


def _retracted(view: View) -> int:
    """Return how many leases of the sites that leak looked leaked for a while, and were returned after all."""
    site, _ = view.codes("site")
    began, ended, held = view.column("acquired_at_s"), view.column("ended_at_s"), view.column("hold_time_s")
    with np.errstate(invalid="ignore"):
        late = np.flatnonzero((held > LEAK_FLOOR_S) & ~view.leaked & np.isin(site, site[view.leaked & view.open]))
    count = 0
    for lease in late[:MOST]:
        others = held[(site == site[lease]) & (ended < began[lease] + LEAK_FLOOR_S)]
        usual = LEAK_TIMES * float(np.nanmax(others)) if len(others) else view.policy.hold_time_warning_s
        count += held[lease] > max(usual, LEAK_FLOOR_S)
    return count
