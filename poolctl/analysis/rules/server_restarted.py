"""The server was restarted, lost, or handed over to another one while it was watched.

What it detects
    An uptime that begins within the run, a server that could not be reached, sessions that were all dropped at once (a
    recovery after a crash), a server that changed between taking writes and not taking them. Without a look at the
    server: several held connections, and most of those in use, lost within a second.

Why it matters
    Every connection that was open is dead, and the pool learns it one failed request at a time. What was measured
    around it (failed requests, waits, new connections) says nothing about the pool's size.

How to fix it
    Look into the server's log at that second. For the next time: pool_pre_ping=True, or retry once on a connection that
    was lost, and dispose of the engine after a confirmed failover.

When it is wrong
    An administrator who ends all sessions looks like a crash. Seen from the pool only, a proxy or a firewall that drops
    everybody looks the same; with `--proxy` or `--proxy-log` the proxy's own drops are told apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.proxy import NEAR_S, Proxy
from poolctl.analysis.rule import Rule
from poolctl.analysis.sessions import Sessions
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC505", "server-restarted", Severity.ERROR)
TOGETHER = 3
"""So many held connections lost within a second are no accident …"""
SHARE = 0.5
"""… when they were at least this share of those in use."""


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for the breaks that the server shows, else for connections that were lost together."""
    seen = Sessions(view)
    breaks, lost = seen.breaks(), _lost_together(view)
    survive = "pool_pre_ping=True, or one retry, survives the next time"
    if breaks:
        first = breaks[0]
        near = sum(any(abs(at - found.at_s) <= 5.0 for found in breaks) for at in Proxy(view).lost())
        yield RULE.finding(
            f"at second {max(first.at_s, 0.0):.1f} of the run the server broke off: {first.says}",
            [
                *(f"second {found.at_s:.1f}: {found.says}" for found in breaks[:5]),
                f"connections lost, or not opened, within 5 s of it: {near}; threshold 1 break",
            ],
            f"look into the server's log at that second; {survive}",
        )
    elif lost is not None:
        at, count, held = lost
        went_on = any(second > at for second, _ in seen.within)
        yield RULE.finding(
            f"{count} of the {held} connections in use were lost together at second {at:.1f}"
            + (", while the server went on" if went_on else ""),
            [f"{format_share(count / held)} within {NEAR_S:g} s; threshold {TOGETHER} and {format_share(SHARE)}"],
            (
                "look for what ended them: an administrator, a proxy or a firewall on the path; "
                if went_on
                else "watch the server meanwhile (--url) to know more; "
            )
            + survive,
            severity=Severity.WARNING,
            confidence="medium",
        )


def _lost_together(view: View) -> tuple[float, int, int] | None:
    """Return when most of the held connections were lost at once, how many, of how many; None: never, or by a proxy."""
    ends = view.column("ended_at_s")[view.ended("invalidated")]
    lost = np.sort(ends[~np.isnan(ends)])
    proxy = Proxy(view)
    drops = [at for at, _ in proxy.closed()] + proxy.restarts()
    for place, at in enumerate(lost):
        count = int(np.searchsorted(lost, at + NEAR_S, side="right")) - place
        held = max(count, int(view.checked_out.at_instants(np.array([at - 1e-6]))[0]))
        if count >= TOGETHER and count >= SHARE * held and not any(abs(at - drop) <= 2 * NEAR_S for drop in drops):
            return float(at), count, held
    return None
