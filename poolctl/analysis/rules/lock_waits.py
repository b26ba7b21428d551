"""Sessions wait for a lock, and somebody holds it.

What it detects
    Sessions that the server shows waiting for a lock (a row, a table, an advisory lock): more than three in ten of the
    busy ones, or one for longer than a second. Names who is at the head of the queue, and at which line.

Why it matters
    To the pool a lock queue looks like a slow database, or a pool that is too small: every waiting session holds a
    connection. More connections only lengthen the queue; one early commit ends it.

How to fix it
    Let the transaction at the head end sooner: commit right after the locking statement, take the hot row last, do
    nothing but SQL in between. A head that is not the application's (a console, a migration) can be ended; lock_timeout
    bounds what the others wait.

When it is wrong
    Samples are taken once a second: a queue that forms and goes in between is missed. A session waits for the one at
    its head only as far as the server tells; heads that may not be seen are named by their backend alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from poolctl.analysis.rule import Rule, times
from poolctl.analysis.sessions import Blocked, Sessions
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC508", "lock-waits", Severity.WARNING)
SHARE = 0.3
"""Of the busy sessions, waiting for a lock (the verdict's threshold)."""
FEWEST = 5
"""Sightings of sessions that wait, from which their share says something."""
LONG_S = 1.0


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all queues, about the head that was waited for most."""
    seen = Sessions(view)
    blocked = [each for each in seen.blocked() if seen.ours(each)]
    if not blocked:
        return
    busy = sum(int(sample.get("active") or 0) for _, sample in seen.within)
    share = len(blocked) / max(busy, len(blocked))
    longest = max(each.waited_s for each in blocked)
    if not (longest > LONG_S or (share > SHARE and len(blocked) >= FEWEST)):
        return
    (root, waited), *_ = _heads(seen, blocked).most_common(1)
    head = next(each for each in reversed(blocked) if _head(seen, each) == root)
    idle = str((head.holder or {}).get("state", "")).startswith("idle in transaction")
    site = seen.site_of(head.root, head.at_s)
    waiters = [name for each in blocked if (name := seen.site_of(int(each.backend["pid"]), each.at_s))]
    at_most = max(Counter(each.at_s for each in blocked).values())
    yield RULE.finding(
        f"{times(at_most, 'session')} waited for a lock at once, for up to {format_seconds(longest)}; at the head is "
        f"{site or _who(head)}" + (", idle in its transaction" if idle else ""),
        [
            (
                f"{len(blocked)} of {busy} sightings of busy sessions waited ({format_share(share)}; threshold "
                f"{format_share(SHARE)}, or one wait above {format_seconds(LONG_S)})"
            ),
            f"head in {waited} of {len(blocked)}: {_who(head)}{_doing(head)}",
            f"waiting behind it: {_waiting(head)}",
        ],
        _advice(view, head, site, idle=idle),
        severity=Severity.ERROR if idle or longest > view.policy.hold_time_warning_s else Severity.WARNING,
        sites=list(dict.fromkeys([*([site] if site else []), *waiters]))[:5],
    )


def _heads(seen: Sessions, blocked: list[Blocked]) -> Counter[str]:
    return Counter(_head(seen, each) for each in blocked)


def _head(seen: Sessions, each: Blocked) -> str:
    """Return what makes two heads the same: the line that holds the lock, else the session."""
    return seen.site_of(each.root, each.at_s) or f"backend {each.root}"


def _who(each: Blocked) -> str:
    holder = each.holder or {}
    name = holder.get("application") or holder.get("user")
    return f"backend {each.root}" + (f" ({name})" if name else "")


def _doing(each: Blocked) -> str:
    holder = each.holder
    if holder is None or holder.get("state") is None:
        return ", which may not be seen"
    age = holder.get("transaction_s")
    since = f", its transaction is {format_seconds(float(age))} old" if age is not None else ""
    return f", {holder['state']}{since}" + (f": {holder['query']}" if holder.get("query") else "")


def _waiting(each: Blocked) -> str:
    wait, query = str(each.backend.get("wait", "Lock")), each.backend.get("query")
    return f"backend {each.backend['pid']}, {wait}" + (f": {query}" if query else "")


def _advice(view: View, head: Blocked, site: str | None, *, idle: bool) -> str:
    if site is not None:
        how = "commit before what is not SQL" if idle else "commit sooner after the statement that takes the lock"
        return f"{how} at {site}"
    end = "select pg_terminate_backend({})" if view.target.dialect == "postgresql" else "kill {}"
    return (
        f"it is no lease that was watched: find out whose it is, or end it ({end.format(head.root)}); lock_timeout "
        "bounds what others wait"
    )
