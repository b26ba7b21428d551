"""Holds are longer than they are held to.

What it detects
    A p95 of hold_time above its objective: that of `--slo "p95 hold < 2s"`, else `hold_time_objective` of
    `[thresholds]` (30 s). The leases above the p95 of hold_time are listed with their sites.

Why it matters
    Connections in use = requests a second × hold: what a hold is longer, the pool must be larger, and those who wait
    wait for it.

How to fix it
    Begin with the first site it names: take the connection later, return it earlier, or make its SQL faster (its share
    of SQL says which). Work that has to hold longer belongs on an engine of its own.

When it is wrong
    Batch work on the engine of a web service moves the p95 of all; an objective for the other one is then held to the
    wrong work.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.breakdown import time_values
from poolctl.analysis.objectives import QUANTILES
from poolctl.analysis.rule import Rule, sites_of, times
from poolctl.analysis.stats import quantile
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC306", "hold-above-objective", Severity.WARNING)


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when holds are above their objective."""
    name, q, limit = _objective(view)
    held = np.sort(time_values(view, "hold"))
    value = quantile(held, q)
    if value is None or value <= limit:
        return
    tail = float(quantile(held, view.policy.long_hold_quantile) or value)
    holds, sql = view.column("hold_time_s"), view.column("sql_time_s")
    with np.errstate(invalid="ignore"):
        above = holds >= min(tail, value) * (1 - 1e-9)
    sites = sites_of(view, above, np.nan_to_num(holds))
    evidence = [f"{name} hold time {format_seconds(value)}; objective {format_seconds(limit)}"]
    site, names = view.codes("site")
    for one in sites:
        mine = above & (site == names.index(one))
        share = float(np.nansum(sql[mine]) / np.nansum(holds[mine])) if not np.isnan(sql[mine]).all() else None
        worked = "" if share is None else f", {format_share(share)} of it SQL"
        evidence.append(
            f"{one}: {times(int(mine.sum()), 'hold')} of {format_seconds(min(tail, value))} and more{worked}"
        )
    where = f" at {sites[0]}" if sites else ""
    yield RULE.finding(
        f"{name} hold time is {format_seconds(value)}, its objective {format_seconds(limit)}",
        evidence,
        f"shorten the hold{where} by {format_seconds(value - limit)}: take the connection later, or return it earlier",
        sites=sites,
    )


def _objective(view: View) -> tuple[str, float, float]:
    """Return what holds are held to: the statistic, its quantile, and the limit in seconds."""
    for objective in view.objectives:
        if objective.measure == "hold" and objective.statistic in QUANTILES and objective.sign in ("<", "<="):
            return objective.statistic, QUANTILES[objective.statistic], objective.limit
    return "p95", 0.95, view.policy.hold_time_objective_s
