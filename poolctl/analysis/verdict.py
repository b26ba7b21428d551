"""Verdict: the one word for a run, a sentence with its numbers, and what rules the other words out.

In: a View and what was already found in it. Out: `Verdict`. Under pressure (timeouts, or waits above the policy) the
causes are asked for in the order in which one hides the next: nested checkouts and leaks make any pool too small, a
starved process or a lock makes the waiting, then holds that are slow or idle, and only then is it the size. A load test
knows its own think time, so there idle holding is a finding beside the verdict and the size is the verdict.

The tests that separate nested, leak, load and slow are those of the measured notes on sizing (24 of 24 right).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from poolctl.analysis import verdict_limits as limit
from poolctl.analysis import verdict_words as words
from poolctl.analysis.stats import needed
from poolctl.analysis.validity import bottlenecks
from poolctl.analysis.verdict_evidence import evidence
from poolctl.analysis.verdict_facts import Facts
from poolctl.trace.report import Finding
from poolctl.units import format_seconds

HEALTHY, TOO_SMALL, OVERSIZED, LEAKING, NESTED = "healthy", "too small", "oversized", "leaking", "nested checkouts"
HELD_IDLE, DATABASE_SLOW, LOCK_BOUND, STARVED = "held idle", "database slow", "lock-bound", "starved"
MISCONFIGURED, CANNOT_TELL = "misconfigured", "cannot tell"

PLENTY = 299
"""Requests, from which on a verdict may be called sure: as many as a p99 needs."""
LONGER = "watch at the daily peak, or for longer (--window 5m)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict."""

    name: str
    sentence: str
    evidence: list[str] = field(default_factory=list)
    """What speaks for it, and what rules the others out, one line each."""
    confidence: str = "high"
    """low | medium | high: how far the deciding number is from its limit, and how much was seen."""
    next_step: str = ""
    """The one thing to do now."""
    sites: list[str] = field(default_factory=list)
    """The lines of code it is about, the worst first."""


def decide(facts: Facts) -> Verdict:
    """Return the verdict."""
    if not facts.total:
        return _without_requests(facts)
    if bound := bottlenecks(list(facts.checks)):
        failed = "; ".join(check.detail for check in bound)
        said = f"Nothing can be told: the load generator was the bottleneck ({failed})."
        return Verdict(CANNOT_TELL, said, next_step="lower the rate, or give the generator more --processes")
    if found := facts.found("PC403"):
        return _misconfigured(found, "engine", list(found.evidence))
    return _under_pressure(facts) if facts.pressed.timed_out or _late(facts) else _at_ease(facts)


def _late(facts: Facts) -> bool:
    """Whether requests wait too long: by the policy, or by an objective on waiting that was missed."""
    pressed, policy = facts.pressed, facts.view.policy
    above = pressed.p95_wait_s is not None and pressed.p95_wait_s > policy.acquire_time_warning_s
    stuck = pressed.still_waiting > 0 and pressed.longest_s > policy.acquire_time_alert_s
    return above or stuck or (bool(facts.missed("wait", "acquire", "timeouts")) and pressed.waited_s > 0)


def _under_pressure(facts: Facts) -> Verdict:
    pressed, what, starved = facts.pressed, words.what_happened(facts), facts.stalled[0]
    if pressed.nested_share > limit.NESTED_SHARE:
        return _verdict(NESTED, facts, words.nested(facts, what), pressed.nested_share / limit.NESTED_SHARE)
    if pressed.leaked_share > limit.LEAKED_SHARE:
        return _verdict(LEAKING, facts, words.leaking(facts, what), pressed.leaked_share / limit.LEAKED_SHARE)
    if not facts.scripted and (found := facts.sync_in_loop):
        return _verdict(STARVED, facts, words.sync_in_loop(found, what), limit.CLEAR)
    if (share := pressed.denied_share) > max(limit.STARVED_SHARE, pressed.stalled_share):
        return _verdict(STARVED, facts, words.starved_of_processors(facts, what), share / limit.STARVED_SHARE)
    if starved > limit.STARVED_SHARE:
        return _verdict(STARVED, facts, words.starved(facts, what), starved / limit.STARVED_SHARE)
    if facts.lock_margin > 1:
        return _verdict(LOCK_BOUND, facts, words.lock_bound(facts, what), facts.lock_margin)
    if found := facts.starving_proxy:
        return _verdict(TOO_SMALL, facts, words.proxy_too_small(found, what), limit.CLEAR)
    if (share := facts.interpreter_share) > limit.STARVED_SHARE:
        return _verdict(STARVED, facts, words.starved_interpreter(facts, what), share / limit.STARVED_SHARE)
    return _by_holds(facts, what)


def _by_holds(facts: Facts, what: str) -> Verdict:
    """Every connection was legitimately in use: are the holds too long, or too many for the pool?"""
    grew = None if facts.scripted else facts.pressed.crowding
    if grew is not None and grew.slower > limit.SLOWER_SHARE:
        said, name = (words.slow, DATABASE_SLOW) if grew.sql > limit.SQL_SHARE else (words.idle, HELD_IDLE)
        return _verdict(name, facts, said(facts, what), grew.slower / limit.SLOWER_SHARE)
    if not facts.scripted and facts.idle_share > limit.VERY_IDLE_SHARE:
        return _verdict(HELD_IDLE, facts, words.idle(facts, what), facts.idle_share / limit.IDLE_SHARE)
    if not facts.scripted and (query := facts.slow_query) is not None:
        return _verdict(DATABASE_SLOW, facts, words.slow(facts, what), query.share / limit.SLOWER_SHARE)
    # Without a quiet time to compare with, a watched application is too small only where a larger pool would do.
    unknown = not facts.scripted and grew is None and not facts.larger_would_do
    if facts.helpless and facts.database_decides:
        return _verdict(DATABASE_SLOW, facts, words.slow(facts, what), 1.0)
    if not facts.scripted and (unknown or facts.helpless) and facts.idle_share > limit.IDLE_SHARE:
        return _verdict(HELD_IDLE, facts, words.idle(facts, what), facts.idle_share / limit.IDLE_SHARE)
    return _verdict(TOO_SMALL, facts, words.too_small(facts, what), 1.0 if unknown else limit.CLEAR)


def _at_ease(facts: Facts) -> Verdict:
    view, pressed = facts.view, facts.pressed
    if pressed.leaked:
        return _verdict(LEAKING, facts, words.leaking(facts, ""), limit.CLEAR)
    if not facts.scripted and (found := facts.sync_in_loop):
        return _verdict(STARVED, facts, words.sync_in_loop(found, ""), limit.CLEAR)
    if not facts.scripted and pressed.denied_time > max(limit.STALLED_TIME, pressed.stalled_time):
        said = words.starved_of_processors(facts, words.what_happened(facts))
        return _verdict(STARVED, facts, said, pressed.denied_time / limit.STALLED_TIME)
    if not facts.scripted and pressed.stalled_time > limit.STALLED_TIME:
        said = words.starved(facts, words.what_happened(facts))
        return _verdict(STARVED, facts, said, pressed.stalled_time / limit.STALLED_TIME)
    if found := facts.starving_proxy:
        return _verdict(TOO_SMALL, facts, words.proxy_too_small(found, ""), limit.CLEAR)
    if not facts.scripted and (found := facts.found("PC608")):
        waits = f"The pool waits for threads: {found.title}, and connections are free."
        return Verdict(STARVED, waits, [*found.evidence, *evidence(facts)], found.confidence, found.advice, found.sites)
    if found := facts.found("PC205"):
        return _verdict(OVERSIZED, facts, (f"The pool is oversized: {found.title}.", found.advice, []), limit.CLEAR)
    if facts.total < needed(0.95):
        few = f"Nothing can be told: {facts.total} requests were recorded, a p95 needs {needed(0.95)}."
        return Verdict(CANNOT_TELL, few, next_step=LONGER)
    missed = facts.missed("hold", "sql", "response")  # what a slow database decides, whatever the pool
    if missed and facts.database_decides:
        return _verdict(DATABASE_SLOW, facts, words.slow(facts, f"`{missed[0]}` was missed"), 1.0)
    if not facts.scripted and (wrong := facts.wrong_setting):
        return _misconfigured(wrong, "pool", [*wrong.evidence, *evidence(facts)])
    of = f" of {view.capacity:g}" if view.capacity is not None and math.isfinite(view.capacity) else ""
    used = f"at most {view.checked_out.peak}{of} connections were in use"
    if "waiting" in view.untold:
        return _unwaited(facts, used)
    wait = format_seconds(pressed.p95_wait_s)
    return _healthy(facts, f"the p95 wait was {wait}, {used}")


def _healthy(facts: Facts, why: str) -> Verdict:
    return _verdict(HEALTHY, facts, (f"The pool is healthy: {why}.", "nothing needs to be changed", []), limit.CLEAR)


def _unwaited(facts: Facts, used: str) -> Verdict:
    """The source does not tell who waited; one pool that was never full had nobody waiting."""
    view = facts.view
    if view.capacity is not None and view.checked_out.peak < view.capacity and len(view.pools) == 1:
        return _healthy(facts, f"{used}, so nobody had to wait")
    said = f"Whether anybody waited cannot be told from this source: {used}."
    step = "watch the process itself (`poolctl diagnose --pid …` or `-- COMMAND`): it tells who waits"
    return Verdict(CANNOT_TELL, said, evidence(facts), "low", step)


def _without_requests(facts: Facts) -> Verdict:
    """Nobody asked for a connection: only the settings can be judged."""
    if not facts.scripted and (wrong := facts.wrong_setting):
        return _misconfigured(wrong, "engine", list(wrong.evidence))
    said = "Nothing can be told: no request for a connection was recorded."
    return Verdict(CANNOT_TELL, said, next_step=LONGER)


def _misconfigured(found: Finding, what: str, said: list[str]) -> Verdict:
    return Verdict(
        MISCONFIGURED, f"The {what} is misconfigured: {found.title}.", said, found.confidence, found.advice, found.sites
    )


def _verdict(name: str, facts: Facts, said: words.Words, margin: float) -> Verdict:
    """Return a verdict as sure as its margin (a number ÷ its limit) and the recording allow."""
    crowded = name != STARVED and facts.pressed.denied_time > limit.DENIED_TIME
    doubts = (margin < limit.CLEAR) + (facts.total < PLENTY) + crowded
    lost = any(not check.ok for check in facts.checks)
    confidence = "low" if lost or doubts > 1 else "medium" if doubts else "high"
    return Verdict(name, said[0], evidence(facts), confidence, said[1], said[2])
