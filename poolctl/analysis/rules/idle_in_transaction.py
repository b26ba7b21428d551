"""Sessions sit in an open transaction, and nobody works in it.

What it detects
    Sessions that the server shows as "idle in transaction" (MySQL: asleep with an open transaction) for longer than
    the threshold of hold_time; as a note, that most of the time in transactions is such idling.

Why it matters
    An open transaction keeps its locks, and the server keeps every row version since it began: others wait, tables
    bloat. A server with idle_in_transaction_session_timeout ends such a session, and the request with it.

How to fix it
    Commit or roll back before anything that is not SQL (an HTTP call, a model, rendering, a lock of your own) at the
    sites it names. As a net, set idle_in_transaction_session_timeout on the server. A session that is no lease of the
    application's is somebody else's: a console, a migration, a worker that was not watched.

When it is wrong
    Samples are taken once a second: short pauses are seen by chance, in proportion to their share of the time. A batch
    job may need its transaction open while it computes.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule, bands, graded, times, where
from poolctl.analysis.sessions import Sessions
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC503", "idle-in-transaction", Severity.WARNING)
SHARE = 0.5
"""Of the sessions in a transaction, idle in it: the threshold of idle-in-hold (PC302)."""
FEWEST = 20
"""Sightings of sessions in a transaction from which their share says something."""
MOST = 5


def check(view: View) -> Iterator[Finding]:
    """Yield one finding: for sessions that idled too long, else for a large share of idling."""
    seen = Sessions(view)
    longest: dict[int, tuple[float, float, dict[str, object]]] = {}
    idle = busy = 0
    for at, sample in seen.within:
        for pid, backend in seen.backends(sample).items():
            if not str(backend.get("state", "")).startswith("idle in transaction"):
                busy += backend.get("transaction_s") is not None
                continue
            idle += 1
            lasted = float(backend.get("state_s") or 0.0)
            if pid not in longest or lasted > longest[pid][0]:
                longest[pid] = (lasted, at, backend)
    policy = view.policy
    ordered = sorted(longest.items(), key=lambda entry: -entry[1][0])
    sites = [site for pid, (_, at, _) in ordered if (site := seen.site_of(pid, at))]
    named = list(dict.fromkeys(sites))[:MOST]
    long = [entry for entry in ordered if entry[1][0] > policy.hold_time_warning_s]
    if long:
        lasted = long[0][1][0]
        yield RULE.finding(
            f"{times(len(long), 'session')} sat idle in an open transaction, for up to {format_seconds(lasted)}",
            [
                *(_line(pid, *found, seen.site_of(pid, found[1])) for pid, found in long[:MOST]),
                bands(f"longest {format_seconds(lasted)}", policy.hold_time_warning_s, policy.hold_time_alert_s),
            ],
            f"commit or roll back before what is not SQL{where(named)}; as a net, "
            + _net(view.target.dialect, policy.hold_time_warning_s),
            severity=graded(lasted, policy.hold_time_warning_s, policy.hold_time_alert_s),
            sites=named,
        )
    elif idle + busy >= FEWEST and idle > SHARE * (idle + busy):
        share = idle / (idle + busy)
        yield RULE.finding(
            f"{format_share(share)} of the sessions in a transaction were idle in it",
            [f"{idle} of {idle + busy} sightings, once a second; threshold {format_share(SHARE)}"],
            f"commit or roll back before what is not SQL{where(named)}",
            severity=Severity.INFO,
            confidence="medium",
            sites=named,
        )


def _line(pid: int, lasted: float, at: float, backend: dict[str, object], site: str | None) -> str:
    who = site or f"not a lease that was watched ({backend.get('application') or backend.get('user') or 'unnamed'})"
    query = f", after: {backend['query']}" if backend.get("query") else ""
    return f"backend {pid} for {format_seconds(lasted)} at second {at:.0f}, held by {who}{query}"


def _net(dialect: str, threshold_s: float) -> str:
    if dialect == "postgresql":
        return f"idle_in_transaction_session_timeout = '{2 * threshold_s:.0f}s' on the server"
    return f"idle_transaction_timeout = {2 * threshold_s:.0f} on the server (MariaDB)"
