"""Findings: the registry of rules.

In: a View. Out: what the rules found, the worst first; a rule's manual by its code. A new rule is one file in
`analysis.rules`, one line here, and its cases in `tests/rules`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Sequence
from typing import cast

from poolctl.analysis.rule import RuleModule
from poolctl.analysis.rules import (
    abandoned,
    active_ratio,
    blocked_loop,
    busy_interpreter,
    cancelled_while_holding,
    capture_incomplete,
    connect_failed,
    detached,
    engine_per_request,
    hold_above_objective,
    idle_in_hold,
    idle_in_transaction,
    lock_waits,
    long_holds,
    nested_checkouts,
    no_pool_limit,
    one_site_causes_waiting,
    open_beyond_leak_threshold,
    orphaned_sessions,
    overflow_churn,
    overflow_in_use,
    oversized,
    ping_cost,
    pool_timeout_band,
    proxy_closes_connections,
    proxy_starves,
    recycle_above_idle_timeout,
    server_budget,
    server_restarted,
    several_engines,
    shared_over_fork,
    slow_acquire,
    slow_checkin,
    slow_validation,
    sync_in_loop,
    timeouts,
    unlimited_overflow,
    utilisation_high,
    workers_all_busy,
)
from poolctl.analysis.view import View
from poolctl.errors import UsageError
from poolctl.trace.report import Finding, PoolSettings, Sizing

_AS_RECOMMENDED = re.compile(r"(,| or|, or)? as recommended")

REGISTRY: dict[str, RuleModule] = {
    "PC101": open_beyond_leak_threshold,
    "PC102": abandoned,
    "PC103": detached,
    "PC104": cancelled_while_holding,
    "PC201": timeouts,
    "PC202": slow_acquire,
    "PC203": overflow_in_use,
    "PC204": overflow_churn,
    "PC205": oversized,
    "PC206": utilisation_high,
    "PC207": active_ratio,
    "PC301": long_holds,
    "PC302": idle_in_hold,
    "PC303": one_site_causes_waiting,
    "PC304": slow_checkin,
    "PC305": slow_validation,
    "PC306": hold_above_objective,
    "PC307": ping_cost,
    "PC401": unlimited_overflow,
    "PC402": pool_timeout_band,
    "PC403": no_pool_limit,
    "PC404": recycle_above_idle_timeout,
    "PC501": server_budget,
    "PC502": connect_failed,
    "PC503": idle_in_transaction,
    "PC504": orphaned_sessions,
    "PC505": server_restarted,
    "PC506": proxy_closes_connections,
    "PC507": proxy_starves,
    "PC508": lock_waits,
    "PC601": nested_checkouts,
    "PC602": blocked_loop,
    "PC603": several_engines,
    "PC604": engine_per_request,
    "PC605": shared_over_fork,
    "PC606": sync_in_loop,
    "PC607": busy_interpreter,
    "PC608": workers_all_busy,
    "PC901": capture_incomplete,
}
"""Code to rule. A code is never used again once it is retired."""


def find(view: View) -> list[Finding]:
    """Return everything the rules find, the worst first, then by code."""
    found = [finding for rule in REGISTRY.values() for finding in rule.check(view)]
    return sorted(found, key=lambda finding: (-finding.severity.rank, finding.code))


def with_size(found: Sequence[Finding], sizing: Sizing | None, today: PoolSettings) -> list[Finding]:
    """Return the findings with the recommended size in numbers where their advice says `as recommended`.

    Without a recommendation those words are left out; so is raising pool_size where a larger one is not recommended.
    """
    best = sizing.recommended if sizing is not None else None
    return [dataclasses.replace(finding, advice=_concrete(finding.advice, best, today)) for finding in found]


def _concrete(advice: str, best: PoolSettings | None, today: PoolSettings) -> str:
    if best is None:
        return _AS_RECOMMENDED.sub("", advice)
    larger = today.capacity is None or best.capacity is None or best.capacity > today.capacity
    raising, _, otherwise = advice.partition(", or ")
    if raising.startswith("raise pool_size") and otherwise and not larger:
        return otherwise
    sizes = f"pool_size={best.pool_size}, max_overflow={best.max_overflow}"
    return advice.replace("as recommended", f"as recommended ({sizes})")


def manual(code: str) -> str:
    """Return the manual of a rule. Raises UsageError for a code that is none."""
    rule = REGISTRY.get(code.upper())
    if rule is None:
        raise UsageError(f"there is no rule {code!r}", f"the rules are {', '.join(REGISTRY)}")
    return inspect.cleandoc(cast("str", rule.__doc__))
