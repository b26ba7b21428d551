"""Code that does not await stopped the event loop.

What it detects
    A timer of capture's on the application's event loop that was more than 100 ms late. The site is that of the lease
    whose holder did something as soon as the loop went on, had not been waiting for the database meanwhile, and was the
    last to be seen before.

Why it matters
    While the loop stands still nothing else of the process runs: no request is answered, no connection is given back,
    and statements that ended long ago look slow. Pools run dry with connections free.

How to fix it
    Move what blocks (a synchronous HTTP client or driver, a file, a computation, `time.sleep`) to a thread
    (`await asyncio.to_thread(…)`) or use a library that awaits.

When it is wrong
    Time in which the loop's thread was ready and got no processor (too many on one machine, a CPU limit) is left out,
    as far as the kernel tells; a process that was stopped, or waits for its own memory to be read back from a disk, is
    late as well: then no single site stands out. Code that holds no connection while it blocks has no site here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis import stalls
from poolctl.analysis.rule import Rule, bands, graded, sites_of, times, where
from poolctl.analysis.sweep import Floats, Ints
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC602", "blocked-loop", Severity.WARNING)

LATE_S, VERY_LATE_S = stalls.LATE_S, 1.0
SLACK_S = 0.02
"""What is this near to the beginning of a stop may have come before it, this near to its end still belong to it."""
MOST = 200
"""Stops, the longest ones, whose cause is looked for."""


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all stops of event loops."""
    lags = stalls.stops(view)
    if not len(lags):
        return
    worst, total = float(lags["lag_s"].max()), float(lags["lag_s"].sum())
    if not len(view.order):
        return
    ran = _who_ran(view, lags["process"].to_numpy(), lags["at_s"].to_numpy(), lags["lag_s"].to_numpy())
    sites = sites_of(view, ran > 0, ran)
    yield RULE.finding(
        f"the event loop stood still {times(len(lags), 'time')}, for up to {format_seconds(worst)}",
        [
            f"{format_seconds(total)} in all, {format_share(total / view.length_s)} of the time",
            bands(f"{format_seconds(worst)} at worst", LATE_S, VERY_LATE_S),
            f"{times(int((ran > 0).sum()), 'lease')} held by what ran meanwhile",
        ],
        f"move what blocks{where(sites)} to a thread (`await asyncio.to_thread(…)`), or await it",
        severity=graded(worst, LATE_S, VERY_LATE_S),
        confidence="high" if sites else "medium",
        sites=sites,
    )


def _who_ran(view: View, process: Ints, at: Floats, lag: Floats) -> Floats:
    """Return for each lease how long its holder kept the loop from going on, in seconds."""
    caused = np.zeros(len(view.order))
    began, ended, leases = _deeds(view)
    in_time, by_lease = np.argsort(began, kind="stable"), np.argsort(leases, kind="stable")
    of, acquired = view.whole("process"), view.column("acquired_at_s")

    def last_seen(lease: int, before: float) -> float:
        first, last = np.searchsorted(leases[by_lease], (lease, lease + 1))
        own = ended[by_lease[first:last]]
        return float(max([acquired[lease], *own[own < before]]))

    for number in np.argsort(-lag)[:MOST]:
        stood_from = at[number] - lag[number] + SLACK_S
        awaiting = set(leases[(began < stood_from) & (ended > stood_from)].tolist())
        first, last = np.searchsorted(began[in_time], (stood_from, at[number] + SLACK_S))
        candidates = {
            lease
            for lease in leases[in_time[first:last]].tolist()
            if of[lease] == process[number] and acquired[lease] < stood_from and lease not in awaiting
        }
        if candidates:  # of those that went on with the loop, the one that was seen last before it stopped
            caused[max(candidates, key=lambda lease: last_seen(lease, stood_from))] += lag[number]
    return caused


def _deeds(view: View) -> tuple[Floats, Floats, Ints]:
    """Return what holders did (statements, and the return): beginning, end, and the lease, as its row."""
    process, lease = view.whole("process"), view.whole("lease")
    ends = view.column("ended_at_s")
    closing = ends - np.nan_to_num(view.column("checkin_time_s"))
    statements = view.tables.statements
    keys = process << 40 | lease
    by_key = np.argsort(keys)
    wanted = statements["process"].to_numpy(np.int64) << 40 | statements["lease"].to_numpy(np.int64)
    of = by_key[np.minimum(np.searchsorted(keys[by_key], wanted), len(keys) - 1)]
    ours = keys[of] == wanted
    started, took = (statements[name].to_numpy(np.float64)[ours] for name in ("started_at_s", "sql_time_s"))
    began = np.concatenate([started, closing])
    return began, np.concatenate([started + took, ends]), np.concatenate([of[ours], np.arange(len(lease))])
