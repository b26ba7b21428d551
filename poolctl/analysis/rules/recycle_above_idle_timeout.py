"""Connections are kept longer than the server or the proxy keeps them.

What it detects
    A pool_recycle that is unset, or not below the lowest idle timeout on the path that is known: MySQL's and MariaDB's
    wait_timeout, PostgreSQL's idle_session_timeout; behind PgBouncer its client_idle_timeout instead. Worse when
    connections were seen to die after they had been idle for so long.

Why it matters
    A connection that was idle for longer was closed by the other side, and the pool does not notice: the next request
    gets it, and its first statement fails ("MySQL server has gone away", "connection was closed"). It happens after
    quiet hours: at night, at weekends, to the first user of the morning.

How to fix it
    Set pool_recycle below the timeout, as advised: half of it, and no more than half an hour. It is checked at
    checkout, so no connection that is older is ever handed out. pool_pre_ping finds dead connections too, and costs a
    round trip on each checkout.

When it is wrong
    A pool that is never quiet for so long loses nothing. With pre-ping on it is a note only: the dead are found, and
    replaced while a request waits. PgBouncer's server_idle_timeout closes its own connections to the server, which the
    application does not see. A timeout of a firewall on the path is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from poolctl.analysis.rule import Rule, sites_of, times
from poolctl.analysis.view import Bools, View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds

RULE = Rule("PC404", "recycle-above-idle-timeout", Severity.WARNING)
LONGEST_S = 1800.0
"""FIELD.md section 4: pool_recycle where nothing on the path asks for less."""
NEARLY = 0.9
"""A connection that was idle for this much of the timeout and then died, died of it."""


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when the pool keeps idle connections longer than the other side does."""
    found, recycle = _lowest(view), view.settings.pool_recycle_s
    if found is None or view.settings.pool_size is None:
        return
    name, limit = found
    if recycle is not None and 0 <= recycle < limit:
        return
    died = _died(view, limit)
    count, pinged = int(died.sum()), bool(view.settings.pre_ping)
    never = recycle is None or recycle < 0
    today = "−1 (never)" if never else format_seconds(recycle)
    known = "none died of it in this run" + (": pre-ping is on" if pinged else "")
    title = (
        f"pool_recycle is not set, and {name} closes idle connections after {format_seconds(limit)}"
        if never
        else f"pool_recycle of {today} is not below {name} of {format_seconds(limit)}"
    )
    yield RULE.finding(
        title,
        [
            f"pool_recycle {today}; threshold: {name}, {format_seconds(limit)}",
            f"{times(count, 'connection')} died after being idle for that long" if count else known,
        ],
        _advice(limit),
        severity=Severity.ERROR if count else Severity.INFO if pinged else Severity.WARNING,
        confidence="high" if count else "medium",
        sites=sites_of(view, died),
    )


def _lowest(view: View) -> tuple[str, float] | None:
    """Return what closes the application's idle connections first, and after how many seconds."""
    server, proxy = view.target.server, view.target.proxy
    if proxy is not None:
        limit = proxy.client_idle_timeout_s
        return (f"{proxy.name}'s client_idle_timeout", limit) if limit else None
    name = "idle_session_timeout" if view.target.dialect == "postgresql" else "wait_timeout"
    return (f"the server's {name}", server.idle_timeout_s) if server.idle_timeout_s else None


def _advice(limit: float) -> str:
    recycle = math.floor(min(LONGEST_S, limit / 2))
    if recycle < 1:
        return "pool_pre_ping=True: the timeout is too short for a pool_recycle of whole seconds"
    return f"pool_recycle={recycle}"


def _died(view: View, limit: float) -> Bools:
    """Return which leases lost a connection that had been idle in the pool for so long."""
    process, pool, connection = (view.whole(name) for name in ("process", "pool", "connection"))
    starts, ends = view.held
    order = np.lexsort((starts, connection, pool, process))
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for column in (process, pool, connection):
        same &= column[order][1:] == column[order][:-1]
    idle = np.full(len(starts), np.nan)
    idle[order[1:]] = np.where(same, starts[order][1:] - ends[order][:-1], np.nan)
    with np.errstate(invalid="ignore"):
        found: Bools = view.ended("invalidated") & (idle >= NEARLY * limit) & (connection > 0)
    return found
