"""A process has several engines for one URL.

What it detects
    Two or more engines (with pools) for the same URL in one process. Where their settings differ it is only noted: one
    of them may be meant for other work.

Why it matters
    Each has a pool of its own: together they may open several times the connections that one setting says, and one may
    queue while the other has connections free.

How to fix it
    Create the engine once, in a module of its own, and import it from there.

When it is wrong
    An engine of its own for batch work or analytics is good practice: give it other settings (NullPool, a small pool),
    and it is only noted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from poolctl.analysis.engine_use import engines, thrown_away
from poolctl.analysis.rule import Rule, sites_of, times, where
from poolctl.analysis.rules.no_pool_limit import WITHOUT
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity

RULE = Rule("PC603", "several-engines", Severity.WARNING)
MOST = 1
"""Engines for one URL in one process."""


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for the URL with the most engines in one process."""
    pooled = [
        (process, url, [use for use in group if use.pool.pool_class not in WITHOUT])
        for (process, url), group in engines(view).items()
        if not thrown_away(group)
    ]
    several = [one for one in pooled if len(one[2]) > MOST]
    if not several:
        return
    process, url, group = max(several, key=lambda one: len(one[2]))
    capacities = [use.pool.settings.capacity or math.inf for use in group]
    numbers = view.pool_keys[0]
    sites = [site for use in group for site in sites_of(view, numbers == use.number, most=1)]
    evidence = [f"{len(group)} engines in process {process} for {url}; threshold {MOST}"]
    for use in group[:5]:
        sizes = use.pool.settings
        evidence.append(f"{times(use.leases, 'lease')}, pool_size {sizes.pool_size}, max_overflow {sizes.max_overflow}")
    if len(several) > 1:
        evidence.append(f"in {len(several)} processes or for other URLs as well")
    alike = len({use.pool.settings for use in group}) == 1
    yield RULE.finding(
        f"{len(group)} engines for one URL: up to {sum(capacities):g} connections a process, not {max(capacities):g}",
        evidence,
        f"use one engine{where(list(dict.fromkeys(sites)))}: create it once and import it",
        severity=Severity.WARNING if alike else Severity.INFO,
        confidence="high" if alike else "medium",
        sites=list(dict.fromkeys(sites)),
    )
