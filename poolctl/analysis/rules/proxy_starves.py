"""The proxy itself is the bottleneck.

What it detects
    Clients that wait inside the pooler (PgBouncer) for a server connection: in more than a fifth of the samples, for
    longer than the threshold of acquire_time; queries that it refused after query_wait_timeout; clients that it did not
    let in (max_client_conn).

Why it matters
    To the application it looks like a slow database: the statement is sent, and nothing comes back. A larger pool in
    the application only makes the queue in the proxy longer.

How to fix it
    Raise default_pool_size (or pool_size of the database's line) to what the advice says, within the server's
    max_connections, and RELOAD. When its server connections are all held by long transactions, shorten these: in
    transaction mode a connection is lent for the whole transaction.

When it is wrong
    A proxy that is kept small on purpose protects the server: then the queue belongs there, and the application's pools
    should be smaller. Samples are taken once a second; a burst between two of them is missed.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.proxy import FULL, QUEUE, Proxy, Queue
from poolctl.analysis.rule import Rule, bands, graded, times
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC507", "proxy-starves", Severity.ERROR)
SHARE = 0.2
"""Of the samples, in which a client waited …"""
FEWEST = 3
"""… and so many at least: one is a moment."""


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for the pool of the proxy in which was waited most."""
    proxy = Proxy(view)
    given_up, turned_away = proxy.refused(QUEUE), proxy.refused(FULL)
    queues = proxy.queues()
    worst = queues[0] if queues else None
    severity = severity_of(view, worst)
    if severity is None and not given_up and not turned_away:
        return
    evidence = [] if worst is None else _evidence(view, worst)
    if given_up:
        evidence.append(f"query_wait_timeout: {times(len(given_up), 'query')} refused; threshold 0")
    if turned_away:
        evidence.append(f"no more connections allowed (max_client_conn): {times(len(turned_away), 'client')} refused")
    yield RULE.finding(
        _title(proxy.name, worst, len(given_up), len(turned_away), queued=severity is not None),
        evidence,
        _advice(view, worst, bool(turned_away)),
        severity=Severity.ERROR if given_up or turned_away else severity,
    )


def severity_of(view: View, worst: Queue | None) -> Severity | None:
    """Return how bad the waiting in the proxy is; None when it is healthy, or nobody looked."""
    if worst is None or worst.share <= SHARE or worst.waited < FEWEST:
        return None
    return graded(worst.longest_s, view.policy.acquire_time_warning_s, view.policy.acquire_time_alert_s)


def _title(name: str, worst: Queue | None, given_up: int, turned_away: int, *, queued: bool) -> str:
    if worst is not None and (queued or given_up):
        size = f" of {times(worst.pool_size, 'server connection')}" if worst.pool_size else ""
        lost = f", {times(given_up, 'query')} refused" if given_up else ""
        return (
            f"{name}'s pool{size} for {worst.database}/{worst.user} starves: up to {worst.waiting} clients waited in "
            f"it, the oldest for {format_seconds(worst.longest_s)}{lost}"
        )
    if given_up:
        return f"{name} refused {times(given_up, 'query')} that had waited in it for query_wait_timeout"
    return f"{name} turned {times(turned_away, 'client')} away: max_client_conn is reached"


def _evidence(view: View, worst: Queue) -> list[str]:
    policy = view.policy
    used = f"{worst.servers} of {worst.pool_size or '?'} server connections were in use then"
    return [
        (
            f"clients waited in {format_share(worst.share)} of {worst.samples} samples"
            f" (threshold {format_share(SHARE)}); up to {worst.waiting} at once, {used}"
        ),
        bands(
            f"longest wait in the proxy {format_seconds(worst.longest_s)}",
            policy.acquire_time_warning_s,
            policy.acquire_time_alert_s,
        ),
    ]


def _advice(view: View, worst: Queue | None, turned_away: bool) -> str:
    advice = []
    if worst is not None and worst.waiting:
        if worst.full:
            advice.append(f"default_pool_size = {wanted(view, worst)} (today {worst.pool_size})")
        else:
            advice.append(
                f"the proxy has {worst.servers} of {worst.pool_size} connections and cannot open more: look for "
                "max_connections or a failing login in the server's log"
            )
    if turned_away:
        proxy = view.target.proxy
        today = f" (today {proxy.max_client_conn})" if proxy and proxy.max_client_conn else ""
        advice.append(f"max_client_conn above the sum of all applications' pools{today}")
    return "; ".join(advice) or "default_pool_size: as many as transactions run at once; shorten the long ones"


def wanted(view: View, worst: Queue) -> int:
    """Return how many server connections would have let nobody wait, as far as the server has them."""
    server = view.target.server
    most = max(worst.clients, (worst.pool_size or 0) + 1)
    if server.max_connections is None:
        return most
    left = server.max_connections - (server.reserved_connections or 0)
    return max(min(most, left), (worst.pool_size or 0) + 1)
