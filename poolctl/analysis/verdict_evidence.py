"""Verdict evidence: what separates the verdicts, each with its number and the threshold used.

In: Facts. Out: lines of text: what speaks for the verdict and what rules the others out.
"""

from __future__ import annotations

from poolctl.analysis import verdict_limits as limit
from poolctl.analysis.culprits import brief
from poolctl.analysis.proxy import Proxy
from poolctl.analysis.rules import proxy_starves
from poolctl.analysis.verdict_facts import Facts
from poolctl.units import format_seconds, format_share


def share_of(limit_share: float) -> str:
    """Return a threshold, which is a round number."""
    return f"{limit_share:.0%}".replace("%", " %")


def evidence(facts: Facts) -> list[str]:
    """Return the lines, in the order in which the verdicts are asked for."""
    pressed = facts.pressed
    lines = [_leaks(facts), _nested(facts), *_process(facts), *_database(facts), *_proxy(facts)]
    if (crowd := pressed.crowding) is not None:
        sql = f", {format_share(crowd.sql)} of that SQL" if crowd.slower > limit.SLOWER_SHARE else ""
        lines.append(
            f"load or slower: longer holds explain {format_share(crowd.slower)} of the crowd{sql} "
            f"(threshold {share_of(limit.SLOWER_SHARE)})"
        )
    return [*lines, *_size(facts)]


def _leaks(facts: Facts) -> str:
    pressed = facts.pressed
    at = f", {format_share(pressed.leaked_share)} of the pool" if pressed.timed_out else ""
    limited = f" (threshold {share_of(limit.LEAKED_SHARE)})" if at else ""
    return f"leaks: {pressed.leaked} connections never returned{at}{limited}"


def _nested(facts: Facts) -> str:
    share, threshold = format_share(facts.pressed.nested_share), share_of(limit.NESTED_SHARE)
    return f"nested checkouts: {share} of the holders waited for another (threshold {threshold})"


def _proxy(facts: Facts) -> list[str]:
    """The pooler in between, where it was watched."""
    proxy = Proxy(facts.view)
    return [
        f"{proxy.name}: clients waited for a server connection in {format_share(queue.share)} of the samples "
        f"(threshold {format_share(proxy_starves.SHARE)}), for up to {format_seconds(queue.longest_s)}"
        for queue in proxy.queues()[:1]
    ]


def _process(facts: Facts) -> list[str]:
    """The event loop and the interpreter."""
    pressed, lines = facts.pressed, []
    threshold = f"(threshold {share_of(limit.STARVED_SHARE)})"
    stood = f", it stood still {format_share(pressed.stalled_time)} of the time" if pressed.stalled_time else ""
    if pressed.waited_s > 0:
        share = max(pressed.free_share, pressed.stalled_share)
        how = "with a connection free" if pressed.free_share >= pressed.stalled_share else "behind a blocked loop"
        lines.append(f"event loop: {format_share(share)} of the waiting {how} {threshold}{stood}")
    elif stood:
        lines.append(f"event loop: nobody waited{stood}")
    if pressed.denied_time > 0:
        shared = f"; {format_share(pressed.denied_share)} of the waiting {threshold}" if pressed.waited_s > 0 else ""
        lines.append(f"processor: denied to the loop for {format_share(pressed.denied_time)} of the time{shared}")
    if pressed.busy_share is not None:
        lines.append(
            f"interpreter: never at rest in {format_share(pressed.busy_share)} of the "
            f"{'waiting' if pressed.waited_s > 0 else 'time'} {threshold}{_unheard(facts)}"
        )
    return lines


def _unheard(facts: Facts) -> str:
    share = facts.pressed.unheard_share
    if share is None or (facts.pressed.busy_share or 0.0) <= limit.STARVED_SHARE:
        return ""
    return f"; answers unread: {format_share(share)} of the SQL (threshold {share_of(limit.UNHEARD_SHARE)})"


def _database(facts: Facts) -> list[str]:
    pressed, lines = facts.pressed, []
    if pressed.sql_share is not None:
        slower = ""
        if pressed.slower is not None:
            slower = ", no slower when full"
            if pressed.slower >= limit.NO_SLOWER:
                slower = f", {pressed.slower:.1f} × as slow when full"
        share = f"{format_share(pressed.sql_share)} of the hold (threshold {share_of(limit.SQL_SHARE)})"
        lines.append(f"database: SQL took {share}{slower}")
        lines += _statements(facts)
        asked = " (the scenario thinks while it holds)" if facts.view.tables.meta.get("think_in_hold") else ""
        lines.append(f"held idle: {format_share(1 - pressed.sql_share)} of the hold{asked}")
    if pressed.lock_share is not None:
        lines.append(
            f"locks: {format_share(pressed.lock_share)} of the busy sessions waited for one "
            f"(threshold {share_of(limit.LOCK_SHARE)})"
        )
    elif facts.pressed.waited_s > 0 and facts.lock_wanted is not None:
        lines.append(
            f"locks: one row lock is wanted {facts.lock_wanted:.2f} × the time "
            f"(threshold {limit.LOCK_WANTED:g}; from the trace)"
        )
    return lines


def _statements(facts: Facts) -> list[str]:
    """How long a statement takes at the line that others wait for most, and elsewhere."""
    if facts.pressed.waited_s <= 0 or not facts.culprits or facts.culprits[0].statement_s is None:
        return []
    worst = facts.culprits[0]
    others = f", {format_seconds(worst.others_statement_s)} elsewhere" if worst.others_statement_s is not None else ""
    took = f"{format_seconds(worst.statement_s)} at {brief(worst.site)}{others}"
    return [f"statements: {took} (limit {1000 * limit.SLOW_STATEMENT_S:g} ms)"]


def _size(facts: Facts) -> list[str]:
    if facts.sizing and facts.sizing.recommended:
        best = facts.sizing.recommended
        return [f"size: {best.pool_size} + {best.max_overflow} recommended"]
    if facts.pressed.waited_s > 0 and facts.wanted is not None and facts.view.capacity:
        return [f"size: arrivals × hold wanted {facts.wanted:.3g} of {facts.view.capacity:g} connections at the peak"]
    return []
