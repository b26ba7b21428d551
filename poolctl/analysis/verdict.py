"""Verdict: the one word for a run, a sentence with its numbers, and what rules the other words out.

In: a View and what was already found in it. Out: `Verdict`. Under pressure (timeouts, or waits above the policy) the
causes are asked for in the order in which one hides the next: nested checkouts and leaks make any pool too small, a
starved loop or a slow database makes the waiting, and only then is it the size. A load test knows its own think time,
so there idle holding is a finding beside the verdict and the size is the verdict.

The tests that separate nested, leak, load and slow are those of the measured notes on sizing (24 of 24 right).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from poolctl.analysis import pressure
from poolctl.analysis.pressure import Pressure
from poolctl.analysis.stats import needed
from poolctl.analysis.validity import bottlenecks
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, ObjectiveResult, Outcome, PoolSettings, Sizing, ValidityCheck
from poolctl.units import format_seconds, format_share

HEALTHY, TOO_SMALL, OVERSIZED, LEAKING, NESTED = "healthy", "too small", "oversized", "leaking", "nested checkouts"
HELD_IDLE, DATABASE_SLOW, LOCK_BOUND, STARVED = "held idle", "database slow", "lock-bound", "starved"
MISCONFIGURED, CANNOT_TELL = "misconfigured", "cannot tell"

NESTED_SHARE = 0.3
"""Of the connections held while anybody waited, held by tasks that waited for another."""
LEAKED_SHARE = 0.3
"""Of the capacity, leaked when requests timed out."""
STARVED_SHARE = 0.5
"""Of the waiting, while a connection was free."""
LOCK_SHARE = 0.3
"""Of the server's busy sessions, waiting for a lock."""
SLOWER_SHARE = 0.5
"""Of the growth in connections in use, by longer holds rather than by more requests."""
NO_SLOWER = 1.2
SQL_SHARE = 0.5
"""Of the hold: above it the database decides how long connections are held."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict."""

    name: str
    sentence: str
    evidence: list[str] = field(default_factory=list)
    """What speaks for it, and what rules the others out, one line each."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is known when the verdict is sought."""

    view: View
    checks: Sequence[ValidityCheck] = ()
    findings: Sequence[Finding] = ()
    objectives: Sequence[ObjectiveResult] = ()
    sizing: Sizing | None = None

    @property
    def scripted(self) -> bool:
        """Whether this was a load test."""
        return not self.view.tables.operations.empty

    def has(self, code: str) -> bool:
        """Whether a rule fired."""
        return any(finding.code == code for finding in self.findings)


def decide(case: Case) -> Verdict:
    """Return the verdict."""
    view = case.view
    total = len(view.tables.leases)
    if not total:
        return Verdict(CANNOT_TELL, "Nothing can be told: no request for a connection was recorded.")
    if bound := bottlenecks(list(case.checks)):
        failed = [check.detail for check in bound]
        return Verdict(
            CANNOT_TELL, f"Nothing can be told: the load generator was the bottleneck ({'; '.join(failed)})."
        )
    if case.has("PC403"):
        found = next(finding for finding in case.findings if finding.code == "PC403")
        return Verdict(MISCONFIGURED, f"The engine is misconfigured: {found.title}.", list(found.evidence))
    pressed = pressure.measure(view)
    if not (pressed.timed_out or _late(case, pressed)):
        return _at_ease(case, pressed)
    return _under_pressure(case, pressed)


def _late(case: Case, pressed: Pressure) -> bool:
    """Whether requests wait too long: by the policy, or by an objective on waiting that was missed."""
    missed = [result.objective for result in case.objectives if result.verdict is Outcome.FAIL]
    asked = any(word in text for text in missed for word in (" wait ", " acquire ", " timeouts "))
    above = pressed.p95_wait_s is not None and pressed.p95_wait_s > case.view.policy.acquire_time_warning_s
    return above or (asked and pressed.waited_s > 0)


def _under_pressure(case: Case, pressed: Pressure) -> Verdict:
    evidence = _evidence(case, pressed)
    what = _what_happened(case.view, pressed)
    if pressed.nested_share > NESTED_SHARE:
        share = format_share(pressed.nested_share)
        return Verdict(
            NESTED,
            f"Checkouts are nested: {what} while {share} of the holders waited for another connection.",
            evidence,
        )
    if pressed.leaked_share > LEAKED_SHARE:
        return Verdict(
            LEAKING, f"The pool is leaking: {what} with {pressed.leaked} connections never returned.", evidence
        )
    if pressed.free_share > STARVED_SHARE:
        share = format_share(pressed.free_share)
        return Verdict(STARVED, f"The event loop is starved: {what}, {share} of it with a connection free.", evidence)
    return _by_cause(case, pressed, what, evidence)


def _by_cause(case: Case, pressed: Pressure, what: str, evidence: list[str]) -> Verdict:
    """Every connection was legitimately in use: more load than the pool takes, or holds that are too long?"""
    grew = None if case.scripted else pressed.crowding
    if grew is not None and grew.slower > SLOWER_SHARE:
        return _slower_holds(pressed, what, evidence)
    # Without a quiet time to compare with, a watched application is too small only where a larger pool would do.
    unknown = not case.scripted and grew is None and not _larger(case.sizing, case.view.settings)
    if (unknown or _helpless(case.sizing)) and _database_decides(pressed):
        return _slow(pressed, what, evidence)
    idle = 1 - pressed.sql_share if pressed.sql_share is not None else 0.0
    if not case.scripted and (unknown or _helpless(case.sizing)) and idle > SQL_SHARE:
        sentence = f"Connections are held idle: {what} while {format_share(idle)} of the hold was idle."
        return Verdict(HELD_IDLE, sentence, evidence)
    return Verdict(TOO_SMALL, f"The pool is too small: {what}{_full(case.view, pressed)}.", evidence)


def _at_ease(case: Case, pressed: Pressure) -> Verdict:
    view, evidence = case.view, _evidence(case, pressed)
    peak, total = view.checked_out.peak, len(view.tables.leases)
    if pressed.leaked:
        return Verdict(LEAKING, f"The pool is leaking: {pressed.leaked} connections were never returned.", evidence)
    if case.has("PC205"):
        found = next(finding for finding in case.findings if finding.code == "PC205")
        return Verdict(OVERSIZED, f"The pool is oversized: {found.title}.", evidence)
    if total < needed(0.95):
        return Verdict(CANNOT_TELL, f"Nothing can be told: {total} requests were recorded, a p95 needs {needed(0.95)}.")
    slow = [
        r.objective for r in case.objectives if r.verdict is Outcome.FAIL and r.objective.split()[1] in _BEYOND_POOL
    ]
    if slow and _database_decides(pressed):
        return _slow(pressed, f"`{slow[0]}` was missed", evidence)
    capacity = view.capacity
    of = f" of {capacity:g}" if capacity is not None and math.isfinite(capacity) else ""
    if "waiting" in view.untold:
        return _unwaited(view, f"at most {peak}{of} connections were in use", evidence)
    wait = format_seconds(pressed.p95_wait_s)
    return Verdict(
        HEALTHY, f"The pool is healthy: the p95 wait was {wait}, at most {peak}{of} connections were in use.", evidence
    )


def _unwaited(view: View, used: str, evidence: list[str]) -> Verdict:
    """The source does not tell who waited; one pool that was never full had nobody waiting."""
    if view.capacity is not None and view.checked_out.peak < view.capacity and len(view.pools) == 1:
        return Verdict(HEALTHY, f"The pool is healthy: {used}, so nobody had to wait.", evidence)
    return Verdict(CANNOT_TELL, f"Whether anybody waited cannot be told from this source: {used}.", evidence)


_BEYOND_POOL = ("hold", "sql", "response")
"""Measures that a slow database decides, whatever the pool."""


def _database_decides(pressed: Pressure) -> bool:
    return (pressed.sql_share or 0.0) > SQL_SHARE


def _slow(pressed: Pressure, what: str, evidence: list[str]) -> Verdict:
    share = format_share(pressed.sql_share)
    if (pressed.lock_share or 0.0) > LOCK_SHARE:
        locks = format_share(pressed.lock_share)
        return Verdict(
            LOCK_BOUND,
            f"The load is lock-bound: {what}, with {locks} of the busy sessions waiting for a lock.",
            evidence,
        )
    return Verdict(DATABASE_SLOW, f"The database is slow: {what} while SQL took {share} of the hold.", evidence)


def _slower_holds(pressed: Pressure, what: str, evidence: list[str]) -> Verdict:
    """It was not the load that grew, but the holds: by SQL, or by idling."""
    if pressed.crowding is None or pressed.crowding.sql > SQL_SHARE:
        return _slow(pressed, what, evidence)
    share = format_share(1 - pressed.crowding.sql)
    return Verdict(HELD_IDLE, f"Connections are held idle: {what}; holds grew, {share} of it idle.", evidence)


def _what_happened(view: View, pressed: Pressure) -> str:
    total = len(view.tables.leases)
    wait = f"the p95 wait was {format_seconds(pressed.p95_wait_s)}" if pressed.p95_wait_s is not None else ""
    lost = ""
    if pressed.timed_out:
        timeout = view.settings.pool_timeout_s
        after = f" after {format_seconds(timeout)}" if timeout else ""
        lost = f"{format_share(pressed.timed_out / total)} of {total:,} requests timed out{after}"
    return (
        " and ".join(part for part in (lost, wait) if part)
        or f"requests waited up to {format_seconds(pressed.longest_s)}"
    )


def _full(view: View, pressed: Pressure) -> str:
    capacity = view.capacity
    if capacity is None or not math.isfinite(capacity) or pressed.full_share is None:
        return ""
    return f", with all {capacity:g} connections in use {format_share(pressed.full_share)} of the time"


def _larger(sizing: Sizing | None, settings: PoolSettings) -> bool:
    """Whether sizing says that a larger pool would do."""
    best, today = sizing.recommended.capacity if sizing and sizing.recommended else None, settings.capacity
    return best is not None and today is not None and best > today


def _slower(factor: float) -> str:
    if factor < NO_SLOWER:
        return "; statements were no slower while the pool was full"
    return f"; statements took {factor:.1f} × as long while the pool was full"


def _helpless(sizing: Sizing | None) -> bool:
    """Whether sizing says that no pool size would do; having no advice is something else."""
    return sizing is not None and sizing.recommended is None and not sizing.reason.startswith("no advice")


def _evidence(case: Case, pressed: Pressure) -> list[str]:
    """What separates the verdicts, each with its number and the threshold used."""
    view = case.view
    nested = f"{format_share(pressed.nested_share)} (threshold {format_share(NESTED_SHARE)})"
    lines = [
        f"leaks: {pressed.leaked} connections never returned"
        + (f", {format_share(pressed.leaked_share)} of the capacity at the timeouts" if pressed.timed_out else ""),
        f"nested checkouts: {nested} of the connections were held by a task that waited for another",
    ]
    if pressed.waited_s > 0:
        lines.append(
            f"event loop: {format_share(pressed.free_share)} of the waiting was with a connection free "
            f"(threshold {format_share(STARVED_SHARE)})"
        )
    if pressed.sql_share is not None:
        slower = "" if pressed.slower is None else _slower(pressed.slower)
        share = f"{format_share(pressed.sql_share)} of the hold (threshold {format_share(SQL_SHARE)})"
        lines.append(f"database: SQL took {share}{slower}")
        asked = " (the scenario thinks while it holds)" if view.tables.meta.get("think_in_hold") else ""
        lines.append(f"held idle: {format_share(1 - pressed.sql_share)} of the hold{asked}")
    if pressed.crowding is not None:
        lines.append(
            f"load or slower: longer holds account for {format_share(pressed.crowding.slower)} of the connections that "
            f"came into use (threshold {format_share(SLOWER_SHARE)}), {format_share(pressed.crowding.sql)} of it SQL"
        )
    if pressed.lock_share is not None:
        lines.append(f"locks: {format_share(pressed.lock_share)} of the busy sessions waited for one")
    if case.sizing and case.sizing.recommended:
        best = case.sizing.recommended
        lines.append(f"size: {best.pool_size} + {best.max_overflow} recommended")
    return lines
