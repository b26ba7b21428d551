"""The proxy closes connections under the pool.

What it detects
    A pooler (PgBouncer) that was restarted in the run, or that closed clients' connections by its own will
    (client_idle_timeout, idle_transaction_timeout, query_timeout, a crashed server connection, a reload), as its
    console and its log say, matched in time with the connections that the application lost.

Why it matters
    The pool believes that it has a connection until a request fails on it. A restart of the proxy takes all of them at
    once; a timeout shorter than the pool's quiet time takes them one by one.

How to fix it
    An idle timeout: set pool_recycle below it (PC404), or raise it. A restart: `RELOAD`, or an online restart (`-R`,
    `so_reuseport`), keeps the clients; pool_pre_ping=True survives the rest. A query_timeout: the statement is too
    slow, or the timeout too short.

When it is wrong
    Without the proxy's log a restart is known by the second, and nothing of single connections. Connections of other
    applications in the same log are counted too; the matching says how many were lost by this one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from poolctl.analysis.proxy import NEAR_S, Proxy
from poolctl.analysis.rule import Rule, times
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity

RULE = Rule("PC506", "proxy-closes-connections", Severity.WARNING)
ADVICE = {
    "client_idle_timeout": "pool_recycle below the proxy's client_idle_timeout",
    "client idle timeout": "pool_recycle below the proxy's client_idle_timeout",
    "idle transaction timeout": "end transactions before what is not SQL, or raise idle_transaction_timeout",
    "idle_transaction_timeout": "end transactions before what is not SQL, or raise idle_transaction_timeout",
    "query_timeout": "a faster statement, or a longer query_timeout",
    "query timeout": "a faster statement, or a longer query_timeout",
    "server conn crashed": "look into the server's log: it dropped the proxy's connection",
}
RESTART = "restart the proxy online (-R) or only RELOAD it; pool_pre_ping=True, or one retry, survives a restart"


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all that the proxy closed."""
    proxy = Proxy(view)
    closed, restarts = proxy.closed(), proxy.restarts()
    if not closed and not restarts:
        return
    matched, lost = proxy.matched([*(at for at, _ in closed), *restarts]), len(proxy.lost())
    reasons = Counter(reason for _, reason in closed)
    evidence = [f"restarted at second {at:.1f}" for at in restarts[:3]]
    evidence += [f"{reason}: {times(count, 'client')} closed" for reason, count in reasons.most_common(5)]
    evidence.append(f"{matched} of {lost} lost connections were lost within {NEAR_S:g} s of it; threshold 0 closed")
    if own := proxy.server_side():
        said = ", ".join(f"{reason} {count}" for reason, count in own.most_common(3))
        evidence.append(f"its own connections to the server, not seen by the application: {said}")
    what = (
        f"was restarted at second {restarts[0]:.1f}"
        if restarts
        else f"closed {times(len(closed), 'connection')} ({reasons.most_common(1)[0][0]})"
    )
    advice = [RESTART] if restarts else []
    advice += [text for key, text in ADVICE.items() if any(reason.startswith(key) for reason in reasons)]
    yield RULE.finding(
        f"{proxy.name} {what}, and {times(matched, 'connection')} in use went with it",
        evidence,
        "; ".join(dict.fromkeys(advice)) or "look into the proxy's log at these seconds",
        severity=Severity.ERROR if matched else Severity.WARNING,
        confidence="high" if matched or not lost else "medium",
    )
