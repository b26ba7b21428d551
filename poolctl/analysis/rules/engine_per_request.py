"""Engines are made again and again.

What it detects
    Five or more engines for one URL in one process, of which the middle one was asked three times or less.

Why it matters
    An engine per request is a pool per request: nothing is reused, every request pays for a connection, nothing limits
    how many there are, and those that are not disposed of stay open until the garbage collector finds them.

How to fix it
    Create the engine once, at the top of a module or when the application starts, and use that one in the function at
    the site it names.

When it is wrong
    A process with an engine per tenant has many URLs, which are told apart; many databases behind one URL (a creator
    that chooses) are not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.breakdown import time_values
from poolctl.analysis.engine_use import FEW_LEASES, MANY, engines, thrown_away
from poolctl.analysis.rule import Rule, sites_of, times, where
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds

RULE = Rule("PC604", "engine-per-request", Severity.ERROR)


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for the URL with the most engines."""
    groups = {key: group for key, group in engines(view).items() if thrown_away(group)}
    if not groups:
        return
    (process, url), group = max(groups.items(), key=lambda item: len(item[1]))
    leases = sum(use.leases for use in group)
    sites = sites_of(view, np.isin(view.pool_keys[0], [use.number for use in group]))
    met = [use.pool.met_at_s for use in group if use.pool.met_at_s is not None]
    rate = f", {len(met) / view.length_s * 60:.0f} a minute" if met else ""
    paid = time_values(view, "connect")
    price = f", {format_seconds(float(paid.mean()))} each on average" if len(paid) else ""
    yield RULE.finding(
        f"{len(group):,} engines were made for one URL in one process, for {times(leases, 'lease')}",
        [
            f"process {process}, {url}: {leases / len(group):.1f} leases an engine{rate}",
            f"threshold: {MANY} engines, with {FEW_LEASES} leases or fewer in the middle",
            f"{times(view.opened, 'connection')} opened for {times(int(view.acquired.sum()), 'checkout')}{price}",
        ],
        f"create the engine once, when the application starts, and use that one{where(sites)}",
        sites=sites,
    )
