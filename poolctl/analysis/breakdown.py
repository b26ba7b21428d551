"""Breakdown: where the time went, and at which line of code.

In: a View. Out: `Times` and the site table. Knows no thresholds.
"""

from __future__ import annotations

import numpy as np

from poolctl.analysis.stats import dist
from poolctl.analysis.sweep import Floats
from poolctl.analysis.view import View
from poolctl.trace.report import Dist, SiteRow, Times

ROWS = 100
"""Sites shown at most: those that hold longest."""
UNKNOWN = "unknown"
"""The site of a lease whose request was not seen."""


def time_values(view: View, measure: str) -> Floats:
    """Return the samples of a time, in the order of the requests, without NaN.

    acquire: until the checkout, or until the timeout or the cancellation (at least so long); failed connects are left
    out. connect and ping: of the leases that opened or pinged. hold, sql, idle, checkin: of the holds that ended.
    response, lag: of the operations that ran, in the order of their intended starts.
    """
    if measure in ("response", "lag"):
        frame = view.tables.operations
        order = np.argsort(frame["intended_at_s"].to_numpy(dtype=np.float64), kind="stable")
        column = "response_time_s" if measure == "response" else "start_lag_s"
        values: Floats = frame[column].to_numpy(dtype=np.float64)[order]
    else:
        values = view.column("idle_in_hold_s" if measure == "idle" else f"{measure}_time_s")
        if measure == "acquire":
            values = values[~view.ended("failed")]
        elif measure in ("connect", "ping"):
            values = values[values > 0]
        elif measure in ("sql", "idle"):
            values = values[~np.isnan(view.column("hold_time_s"))]
    return values[~np.isnan(values)]


def times(view: View) -> Times:
    """Return the distribution of every time."""
    operations = not view.tables.operations.empty
    return Times(
        acquire_time_s=dist(time_values(view, "acquire")),
        wait_time_s=dist(time_values(view, "wait")),
        connect_time_s=dist(time_values(view, "connect")),
        ping_time_s=dist(time_values(view, "ping")),
        hold_time_s=dist(time_values(view, "hold")),
        sql_time_s=dist(time_values(view, "sql")),
        idle_in_hold_s=dist(time_values(view, "idle")),
        checkin_time_s=dist(time_values(view, "checkin")),
        response_time_s=dist(time_values(view, "response")) if operations else None,
    )


def sites(view: View) -> list[SiteRow]:
    """Return one row for each site and context, the longest holders first. Open leases count with their hold so far."""
    (site, names), (context, contexts) = view.codes("site"), view.codes("context")
    if not len(site):
        return []
    key = (site + 1) * (len(contexts) + 1) + context + 1
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.append(True, key[order][1:] != key[order][:-1]))
    began, ended = view.held
    until = np.where(np.isnan(ended), view.length_s, ended)
    held = np.where(view.acquired, np.maximum(until - began, 0.0), 0.0)
    holds, sql, caused = view.column("hold_time_s"), view.column("sql_time_s"), view.wait_caused_s
    both = ~np.isnan(holds) & ~np.isnan(sql)
    overall = float(held.sum())
    rows = []
    for rank in np.argsort(-np.add.reduceat(held[order], starts), kind="stable")[:ROWS]:
        stop = starts[rank + 1] if rank + 1 < len(starts) else len(order)
        mine = order[starts[rank] : stop]
        rows.append(
            SiteRow(
                site=names[site[mine[0]]] if site[mine[0]] >= 0 else UNKNOWN,
                context=contexts[context[mine[0]]] if context[mine[0]] >= 0 else None,
                leases=len(mine),
                hold_time_s=dist(holds[mine]) if len(mine) else Dist(0),
                hold_share=_share(float(held[mine].sum()), overall),
                sql_share=_share(float(sql[mine][both[mine]].sum()), float(holds[mine][both[mine]].sum())),
                wait_caused_s=float(caused[mine].sum()),
            )
        )
    return rows


def _share(part: float, whole: float) -> float | None:
    return min(part / whole, 1.0) if whole > 0 else None
