"""Testing connections costs more than it catches, or is missing where it would.

What it detects
    With pool_pre_ping: at least 1,000 tests of which none found a dead connection, with what they cost. Without it:
    connections that were dead when they were handed out (invalidated by the first statement of a hold), in more than
    0.1 % of the checkouts.

Why it matters
    A test is a round trip before every checkout (with asyncpg three: BEGIN, query, ROLLBACK), paid by the caller while
    it holds a slot. A dead connection that nobody tested is an error that a user sees.

How to fix it
    Catches nothing: pool_pre_ping=False, with a pool_recycle below the lowest idle timeout on the path. Dead
    connections: pool_pre_ping=True, and the same pool_recycle.

When it is wrong
    A minute without a dead connection says little about the night: across proxies, firewalls and failovers the test is
    an insurance, and the cost it names is the premium. A restart of the server kills connections in their first
    statement, too: those no test would have caught.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.breakdown import time_values
from poolctl.analysis.rule import Rule, sites_of, times
from poolctl.analysis.stats import share_interval
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC307", "ping-cost", Severity.WARNING)
FEWEST = 1_000
"""Tests. From fewer, none that failed says nothing."""
RECYCLE_S = 300
"""FIELD.md section 4: below the idle timeouts of a cloud's PostgreSQL and of a short wait_timeout."""


def check(view: View) -> Iterator[Finding]:
    """Yield a finding where testing does not pay, or is missing."""
    if view.settings.pre_ping:
        yield from _premium(view)
    elif view.settings.pre_ping is not None:
        yield from _dead(view)


def _premium(view: View) -> Iterator[Finding]:
    pings = time_values(view, "ping")
    caught = int(((view.column("ping_time_s") > 0) & (view.column("connect_time_s") > 0)).sum())
    if len(pings) < FEWEST or caught:
        return
    cost, acquire = float(pings.sum()), float(np.nansum(view.column("acquire_time_s")))
    share = cost / acquire if acquire > 0 else 0.0
    most, each = share_interval(0, len(pings))[1], format_seconds(cost / len(pings))
    yield RULE.finding(
        f"{len(pings):,} connections were tested before use and none was dead",
        [
            f"paid: {format_seconds(cost)}, {each} a checkout, {format_share(share)} of the acquire time",
            f"caught: 0 dead connections, with 95 % confidence fewer than {format_share(most)}",
            f"threshold: {FEWEST:,} tests without a catch",
        ],
        f"pool_pre_ping=False with pool_recycle={RECYCLE_S} (below the lowest idle timeout on the path), "
        "where the way to the server is reliable",
        severity=Severity.INFO,
        confidence="medium",
    )


def _dead(view: View) -> Iterator[Finding]:
    # A lease that was no test of a fresh connection, and whose first statement found it dead.
    fresh = view.tables.leases["fresh"].to_numpy(dtype=np.bool_)[view.order]
    dead = view.ended("invalidated") & ~fresh & (view.whole("statements") <= 1) & (view.whole("statements") >= 0)
    count, checkouts = int(dead.sum()), int(view.acquired.sum())
    limit = view.policy.validation_failure_warning
    if not count or count / checkouts <= limit:
        return
    connects = time_values(view, "connect")
    price = f"; opening one takes {format_seconds(float(np.median(connects)))}" if len(connects) else ""
    yield RULE.finding(
        f"{times(count, 'connection')} handed out dead",
        [
            f"{format_share(count / checkouts)} of {checkouts:,} checkouts; threshold {format_share(limit)}",
            f"each was an error for its caller{price}",
        ],
        f"pool_pre_ping=True, and pool_recycle={RECYCLE_S} (below the lowest idle timeout on the path)",
        confidence="medium",
        sites=sites_of(view, dead),
    )
