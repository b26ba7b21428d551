"""A sync driver is used on the event loop.

What it detects
    Requests to a sync pool made on a thread whose event loop is running: in an `async def`, without a thread between.

Why it matters
    Waiting for the pool, connecting and every statement stop the loop: meanwhile the process answers nobody. With one
    loop a second connection is never wanted, so the pool looks fine; and when it is not, waiting for a connection stops
    the very task that would return it.

How to fix it
    Use the async driver (`create_async_engine`, asyncpg), or make the endpoint a plain `def` (FastAPI runs that in a
    thread), or call it in `await asyncio.to_thread(…)`.

When it is wrong
    A few statements when the application starts hurt nobody: less than 100 ms in all are only noted. A site is named
    when it first asks on a loop; what it asks elsewhere later is counted with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.rule import Rule, sites_of, times, where
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC606", "sync-in-loop", Severity.WARNING)
WORTH_S, LATE_S = 0.1, 0.1
"""Less than this in all is only noted; a single stop above it is worse than a warning."""


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all sync requests on event loops."""
    told = set(view.tables.told.sync_sites)
    site, names = view.codes("site")
    sync = {(pool.process, pool.number) for pool in view.tables.pools if not pool.is_async}
    if not told or not sync:
        return
    keys = view.whole("process") << 16 | view.whole("pool")
    there = np.isin(site, [number for number, name in enumerate(names) if name in told])
    there &= np.isin(keys, [process << 16 | number for process, number in sync])
    if not there.any():
        return
    parts = ("acquire_time_s", "sql_time_s", "checkin_time_s")
    stopped = sum((np.nan_to_num(view.column(name)) for name in parts), np.zeros(len(site)))[there]
    total, longest = float(stopped.sum()), float(stopped.max())
    sites = sites_of(view, there)
    severity = Severity.ERROR if longest > LATE_S else Severity.WARNING if total > WORTH_S else Severity.INFO
    yield RULE.finding(
        f"{times(int(there.sum()), 'request')} to a sync pool made on the event loop",
        [
            f"{format_seconds(total)} of pool and SQL on the loop, {format_share(total / view.length_s)} of the time",
            f"noted above 0, a warning above {format_seconds(WORTH_S)} in all",
            f"{format_seconds(longest)} in one lease; an error above {format_seconds(LATE_S)}",
        ],
        f"use an async engine{where(sites)}, or move it to a thread (`def` endpoint, `await asyncio.to_thread(…)`)",
        severity=severity,
        sites=sites,
    )
