"""Verdict words: for each verdict its sentence, with the line of code in it, and the one next step.

In: Facts, and what happened. Out: (sentence, next step, sites). Decides nothing.
"""

from __future__ import annotations

import math

from poolctl.analysis import verdict_limits as limit
from poolctl.analysis.culprits import Culprit, brief
from poolctl.analysis.on_server import running
from poolctl.analysis.rule import times
from poolctl.analysis.verdict_facts import Facts
from poolctl.trace.report import Finding
from poolctl.units import format_seconds, format_share

Words = tuple[str, str, list[str]]


def what_happened(facts: Facts) -> str:
    """Say how the requests suffered."""
    pressed, view = facts.pressed, facts.view
    parts = []
    if pressed.timed_out:
        timeout = view.settings.pool_timeout_s
        after = f" after {format_seconds(timeout)}" if timeout else ""
        parts.append(f"{format_share(pressed.timed_out / facts.total)} of {facts.total:,} requests timed out{after}")
    elif pressed.still_waiting and pressed.longest_s > view.policy.acquire_time_alert_s:
        longest = format_seconds(pressed.longest_s)
        parts.append(f"{times(pressed.still_waiting, 'request')} still waited at the end, for up to {longest}")
    if pressed.p95_wait_s is not None and (not parts or pressed.timed_out):
        parts.append(f"the p95 wait was {format_seconds(pressed.p95_wait_s)}")
    return " and ".join(parts) or f"requests waited up to {format_seconds(pressed.longest_s)}"


def nested(facts: Facts, what: str) -> Words:
    """Tasks hold one connection and wait for another."""
    found = facts.found("PC601")
    sites = found.sites if found else []
    share = format_share(facts.pressed.nested_share)
    where = f", at {brief(sites[0])}" if sites else ""
    sentence = f"Checkouts are nested: {what} while {share} of the holders waited for another connection{where}."
    return sentence, found.advice if found else "hand the connection down instead of taking another", sites


def leaking(facts: Facts, what: str) -> Words:
    """Connections are taken and not given back."""
    found = facts.found("PC101", "PC102")
    sites = found.sites if found else []
    where = f", taken at {brief(sites[0])}" if sites else ""
    pressed = facts.pressed
    if what:
        sentence = f"The pool is leaking: {what} with {times(pressed.leaked, 'connection')} never returned{where}."
    else:
        were = "was" if pressed.leaked == 1 else "were"
        sentence = f"The pool is leaking: {times(pressed.leaked, 'connection')} {were} never returned{where}."
    return sentence, found.advice if found else "take connections in a `with` block", sites


def starved(facts: Facts, what: str) -> Words:
    """The event loop is what is waited for."""
    share, how = facts.stalled
    found = facts.found("PC602")
    sites = found.sites if found else []
    where = f"; it ran {brief(sites[0])}" if sites else ""
    suffered = f"{what}, {format_share(share)} of it {how}" if facts.pressed.waited_s > 0 else what
    stood = format_share(facts.pressed.stalled_time)
    still = f" (it stood still {stood} of the time)" if facts.pressed.stalled_time > limit.STALLED_TIME else ""
    advice = found.advice if found else PROFILE
    return f"The event loop is starved: {suffered}{still}{where}.", advice, sites


def starved_interpreter(facts: Facts, what: str) -> Words:
    """Threads that compute keep the others from going on."""
    found, pressed = facts.found("PC607"), facts.pressed
    share = format_share(facts.interpreter_share)
    late = ""
    if pressed.unheard_share is not None:
        late = f"; {format_share(pressed.unheard_share)} of what looked like SQL was over on the server"
    sentence = f"The process is starved: {what}, {share} of it while Python's interpreter (GIL) never rested{late}."
    return sentence, found.advice if found else PROFILE, []


def starved_of_processors(facts: Facts, what: str) -> Words:
    """The loop could have gone on; the machine had no processor for it."""
    share, time = facts.pressed.denied_share, format_share(facts.pressed.denied_time)
    suffered = f"{what}, {format_share(share)} of it while " if share > limit.STARVED_SHARE else ""
    sentence = f"The process is starved: {suffered}no processor was free for it ({time} of the time)."
    return sentence, "give it a processor: a higher CPU limit, fewer neighbours on the machine, or more cores", []


PROFILE = "find what keeps the process busy: a profiler (py-spy top --pid …) shows it"


def sync_in_loop(found: Finding, what: str) -> Words:
    """A sync driver keeps the event loop waiting, and with it everybody."""
    suffered = f"{what}; " if what else ""
    where = f", at {brief(found.sites[0])}" if found.sites else ""
    return f"The event loop is starved: {suffered}{found.title}{where}.", found.advice, found.sites


def lock_bound(facts: Facts, what: str) -> Words:
    """Transactions wait for each other in the database."""
    pressed = facts.pressed
    waiting = [culprit.site for culprit in facts.culprits[:1]]
    if pressed.lock_share is None:
        sentence = f"The load is lock-bound: {what}; one row lock is wanted {facts.lock_wanted or 0:.1f} × the time"
        step = f"shorten the transaction{_at(waiting)} that holds the lock: change the hot row last, just before commit"
        return f"{sentence}{_brief(waiting)}.", step, waiting
    locks = format_share(pressed.lock_share)
    sentence = f"The load is lock-bound: {what}, with {locks} of the busy sessions waiting for a lock"
    head = facts.heads[0] if facts.heads else None
    if head is None:
        step = f"shorten the transaction{_at(waiting)} that holds the lock; pg_locks names who waits for whom"
        return f"{sentence}{_brief(waiting)}.", step, waiting
    if head.site is None:
        who = f"backend {head.backend_pid}, which is not one of the watched connections"
        ran = f" (last statement: {head.query[:60]})" if head.query else ""
        step = f"end or shorten the transaction of {who}{ran}"
        return f"{sentence}{_brief(waiting)}, held by backend {head.backend_pid} of somebody else.", step, waiting
    step = f"shorten the transaction at {head.site}: take the lock last, commit at once, nothing else in between"
    sites = list(dict.fromkeys([head.site, *waiting]))
    return f"{sentence} that {brief(head.site)} holds.", step, sites


def slow(facts: Facts, what: str) -> Words:
    """Statements are what the connections are held for."""
    share, slower = format_share(facts.pressed.sql_share), facts.pressed.slower
    worst = facts.slow_query or _most(facts, lambda culprit: 1 - (culprit.idle_share or 0.0))
    sites = [worst.site] if worst else []
    took = ""
    if worst and worst.statement_s is not None:
        longer = f" ({slower:.1f} × as long when full)" if slower is not None and slower >= limit.NO_SLOWER else ""
        took = f", {format_seconds(worst.statement_s)} a statement{longer} at {brief(worst.site)}"
    query = running(facts.view, worst.site) if worst else ""
    step = f"EXPLAIN (ANALYZE, BUFFERS) what runs{_at(sites)}{f' ({query[:100]})' if query else ''}: "
    step += "an index, less work, or other load on the server"
    return f"The database is slow: {what} while SQL took {share} of the hold{took}.", step, sites


def idle(facts: Facts, what: str) -> Words:
    """Connections are held across other work."""
    worst = _most(facts, lambda culprit: culprit.idle_share or 0.0)
    sites = [worst.site] if worst else []
    share = (worst.idle_share if worst else None) or facts.idle_share
    where = f" at {brief(worst.site)}" if worst else ""
    sentence = f"Connections are held idle: {what} while {format_share(share)} of the hold was idle{where}."
    step = f"return the connection{_at(sites)} before the other work (HTTP, files, computing), and take it again after"
    return sentence, step, sites


def too_small(facts: Facts, what: str) -> Words:
    """More is asked for at once than there is."""
    view, pressed = facts.view, facts.pressed
    capacity, settings = view.capacity, view.settings
    full = ""
    if capacity is not None and math.isfinite(capacity) and pressed.full_share is not None:
        full = f", with all {capacity:g} connections in use {format_share(pressed.full_share)} of the time"
    sites = [culprit.site for culprit in facts.culprits[:1]]
    now = f"{settings.pool_size} + {settings.max_overflow}"
    if facts.larger_would_do and facts.sizing and facts.sizing.recommended:
        best = facts.sizing.recommended
        step = f"pool_size={best.pool_size}, max_overflow={best.max_overflow} instead of {now}"
    elif facts.wanted is not None and capacity is not None and facts.wanted > capacity:
        each = math.ceil(facts.wanted / max(1, len(view.pool_keys[1])) * 1.3)
        step = f"pool_size={each} instead of {now} to begin with (arrivals × hold at the peak, and 30 % more)"
    else:
        step = f"raise pool_size (now {now}) until nobody waits, or shorten the holds{_at(sites)}"
    return f"The pool is too small: {what}{full}.", step, sites


def proxy_too_small(found: Finding, what: str) -> Words:
    """The queue is in the pooler, not in the application's pool."""
    while_ = f"{what} while " if what else ""
    return f"The proxy's pool is too small, not the application's: {while_}{found.title}.", found.advice, []


def _most(facts: Facts, weight: object) -> Culprit | None:
    """Return the site with the most of the waiting, each weighted."""
    assert callable(weight)  # noqa: S101 - given below
    return max(facts.culprits, key=lambda culprit: culprit.share * weight(culprit), default=None)


def _at(sites: list[str]) -> str:
    return f" at {sites[0]}" if sites else ""


def _brief(sites: list[str]) -> str:
    return f" at {brief(sites[0])}" if sites else ""
