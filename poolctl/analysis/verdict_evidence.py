"""Verdict evidence: what separates the verdicts, each with its number and the threshold used.

In: Facts. Out: lines of text: what speaks for the verdict and what rules the others out.
"""

from __future__ import annotations

from poolctl.analysis import verdict_limits as limit
from poolctl.analysis.proxy import Proxy
from poolctl.analysis.rules import proxy_starves
from poolctl.analysis.verdict_facts import Facts
from poolctl.units import format_seconds, format_share


def evidence(facts: Facts) -> list[str]:
    """Return the lines, in the order in which the verdicts are asked for."""
    pressed = facts.pressed
    lines = [_leaks(facts), _nested(facts), *_process(facts), *_database(facts), *_proxy(facts)]
    if pressed.crowding is not None:
        lines.append(
            f"load or slower: longer holds account for {format_share(pressed.crowding.slower)} of the connections that "
            f"came into use (threshold {format_share(limit.SLOWER_SHARE)}), {format_share(pressed.crowding.sql)} of "
            "it SQL"
        )
    return [*lines, *_size(facts)]


def _leaks(facts: Facts) -> str:
    pressed = facts.pressed
    at = f", {format_share(pressed.leaked_share)} of the capacity at the timeouts" if pressed.timed_out else ""
    limited = f" (threshold {format_share(limit.LEAKED_SHARE)})" if at else ""
    return f"leaks: {pressed.leaked} connections never returned{at}{limited}"


def _nested(facts: Facts) -> str:
    share = f"{format_share(facts.pressed.nested_share)} (threshold {format_share(limit.NESTED_SHARE)})"
    return f"nested checkouts: {share} of the connections were held by a task that waited for another"


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
    threshold = f"(threshold {format_share(limit.STARVED_SHARE)})"
    stood = f", it stood still {format_share(pressed.stalled_time)} of the time" if pressed.stalled_time else ""
    if pressed.waited_s > 0:
        share = max(pressed.free_share, pressed.stalled_share)
        how = "with a connection free" if pressed.free_share >= pressed.stalled_share else "behind a blocked loop"
        lines.append(f"event loop: {format_share(share)} of the waiting was {how} {threshold}{stood}")
    elif stood:
        lines.append(f"event loop: nobody waited{stood}")
    if pressed.busy_share is not None:
        lines.append(
            f"interpreter (GIL): wanted without a pause {format_share(pressed.busy_share)} of the "
            f"{'waiting' if pressed.waited_s > 0 else 'time'} {threshold}"
        )
    return lines


def _database(facts: Facts) -> list[str]:
    pressed, lines = facts.pressed, []
    if pressed.sql_share is not None:
        slower = ""
        if pressed.slower is not None:
            slower = "; statements were no slower while the pool was full"
            if pressed.slower >= limit.NO_SLOWER:
                slower = f"; statements took {pressed.slower:.1f} × as long while the pool was full"
        share = f"{format_share(pressed.sql_share)} of the hold (threshold {format_share(limit.SQL_SHARE)})"
        lines.append(f"database: SQL took {share}{slower}{_statements(facts)}")
        asked = " (the scenario thinks while it holds)" if facts.view.tables.meta.get("think_in_hold") else ""
        lines.append(f"held idle: {format_share(1 - pressed.sql_share)} of the hold{asked}")
    if pressed.lock_share is not None:
        lines.append(
            f"locks: {format_share(pressed.lock_share)} of the busy sessions waited for one "
            f"(threshold {format_share(limit.LOCK_SHARE)})"
        )
    elif facts.pressed.waited_s > 0 and facts.lock_wanted is not None:
        lines.append(
            f"locks: one row lock is wanted {facts.lock_wanted:.2f} × the time "
            f"(threshold {limit.LOCK_WANTED:g}; from the trace)"
        )
    return lines


def _statements(facts: Facts) -> str:
    if facts.pressed.waited_s <= 0 or not facts.culprits or facts.culprits[0].statement_s is None:
        return ""
    worst = facts.culprits[0]
    others = f", {format_seconds(worst.others_statement_s)} elsewhere" if worst.others_statement_s is not None else ""
    return f"; a statement took {format_seconds(worst.statement_s)} where others waited for it{others}"


def _size(facts: Facts) -> list[str]:
    if facts.sizing and facts.sizing.recommended:
        best = facts.sizing.recommended
        return [f"size: {best.pool_size} + {best.max_overflow} recommended"]
    if facts.pressed.waited_s > 0 and facts.wanted is not None and facts.view.capacity:
        return [f"size: arrivals × hold wanted {facts.wanted:.3g} of {facts.view.capacity:g} connections at the peak"]
    return []
