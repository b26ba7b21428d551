"""Advice: overflow, budget, pool_timeout and pool_recycle, once the size is known.

In: what the model predicts, today's settings, the server. Out: settings and the sentences that explain them. FIELD.md
section 4 is the ground; nothing here is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from poolctl.analysis.case import Case
from poolctl.analysis.goals import pooled, quantile
from poolctl.analysis.pool_rules import Outcome
from poolctl.trace.report import PoolSettings, ServerInfo
from poolctl.units import format_seconds, format_share

RECYCLE_S = 1800.0
"""Where no idle limit on the path is known."""
CONNECTS_ALLOWED = 0.01
"""Overflow is kept where at most this share of the checkouts would open a connection."""
FEW_CONNECTS = 3
TIMEOUT_MOST_S = 30.0
RECYCLE_SHARE = 0.001
"""Opening recycled connections anew may cost this share of the slots' time."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What the server leaves for the pools."""

    allowed: int | None
    """Connections that all processes together may open; None: the server was not seen."""
    text: str = ""


def budget(server: ServerInfo | None) -> Budget:
    """Return what is left of max_connections after reserved and foreign sessions."""
    if server is None or server.max_connections is None:
        return Budget(None)
    reserved, others = server.reserved_connections or 0, server.in_use or 0
    return Budget(
        server.max_connections - reserved - others,
        f"max_connections {server.max_connections} − {reserved} reserved − {others} in use by others",
    )


def overflow_for(size: int, ceiling: int, connect_share: Callable[[int], float]) -> int:
    """Return max_overflow: up to a quarter of the size, a safety valve and no working capacity.

    `connect_share(overflow)` is the predicted share of checkouts that open a connection; `ceiling` what the budget
    leaves.
    """
    most = min(max(1, math.ceil(size / 4)), ceiling)
    for overflow in range(most, 0, -1):
        if connect_share(overflow) <= CONNECTS_ALLOWED:
            return overflow
    return 0


def timeout_for(
    today: float | None, p999_wait_s: float, limit_s: float, deadline_s: float | None, p99_hold_s: float
) -> tuple[float, str]:
    """Return pool_timeout and why: min(deadline − p99 hold, max(2 × p99.9 wait at headroom, 5 × objective)).

    Without a known deadline today's value stays where it is neither too short for that nor beyond 30 s.
    """
    least = max(2 * p999_wait_s, 5 * limit_s)
    if deadline_s is not None:
        value = max(min(deadline_s - p99_hold_s, least), limit_s)
        return _round_up(value), f"pool_timeout: the caller's deadline {format_seconds(deadline_s)} less the p99 hold"
    if today is not None and least <= today <= TIMEOUT_MOST_S:
        return today, "pool_timeout: today's value fits; never longer than the caller's own timeout"
    value = _round_up(min(max(least, 1.0), TIMEOUT_MOST_S)) if today is None or today < least else TIMEOUT_MOST_S
    return value, f"pool_timeout: at least {format_seconds(least)}, never longer than the caller's own timeout"


def recycle_for(today: float | None, idle_limit_s: float | None = None, connect_s: float = 0.0) -> tuple[float, str]:
    """Return pool_recycle and why: at most half of the shortest idle limit on the path; today's where that fits.

    `connect_s` is what opening a connection costs: recycles take at most RECYCLE_SHARE of the slots' time, or the
    sentence says that they do not.
    """
    today = today if today is not None and today > 0 else None
    if idle_limit_s is None:
        return (today, "") if today is not None else (RECYCLE_S, "")
    most = idle_limit_s / 2
    value = today if today is not None and today <= most else min(most, RECYCLE_S)
    why = f"pool_recycle: at most half of the idle limit of {format_seconds(idle_limit_s)} on the path"
    if connect_s > RECYCLE_SHARE * value:
        why += (
            f"; connects of {format_seconds(connect_s)} then cost {format_share(connect_s / value)} of the slots' time"
        )
    return float(round(value, 3)), why


@dataclass(frozen=True)
class Chosen:
    """Settings and what is to be said about them."""

    settings: PoolSettings
    notes: list[str]
    impossible: str = ""
    """Why the server has no room for them; empty when it has."""


def settle(case: Case, grown: Sequence[Outcome], size: int) -> Chosen:
    """Return all settings for a pool_size. `grown` is what the model says at that size with headroom."""
    search, today, wishes = case.search, case.settings, case.wishes
    room, at_once = budget(case.server), 2 if wishes.rolling else 1
    ceiling = size if room.allowed is None else room.allowed // (case.processes * at_once) - size
    overflow = overflow_for(size, max(ceiling, 0), lambda extra: _connect_share(case, size, extra))
    wait, held = (
        pooled(list(part)) for part in ([o.wait_s for o in grown], [o.ended_at_s - o.acquired_at_s for o in grown])
    )
    limit = min((goal.limit for goal in search.goals if goal.on_time), default=0.05)
    timeout, why = timeout_for(
        today.pool_timeout_s, quantile(wait, 0.999), limit, wishes.deadline_s, float(np.nanquantile(held, 0.99))
    )
    connect_s = float(np.mean(case.demands[0].marks.connect_s))
    recycle, because = recycle_for(today.pool_recycle_s, wishes.idle_limit_s, connect_s)
    chosen = PoolSettings(size, overflow, timeout, recycle, today.pre_ping, today.lifo)
    said = [why, because] if because else [why]
    if room.allowed is None:
        return Chosen(chosen, said)
    total = case.processes * (size + overflow)
    sum_text = f"{case.processes} × {size + overflow} = {total}"
    doubled = ", twice that in a rolling deploy," if wishes.rolling else ""
    if at_once * total > room.allowed:
        hint = "fewer processes, a pooler, or shorter holds"
        return Chosen(
            chosen,
            said,
            f"no setting fits: {sum_text} connections{doubled} are needed, {room.allowed} are left ({room.text}): "
            f"{hint}",
        )
    deploy = f"{'enough' if 2 * total <= room.allowed else 'not enough'} for a rolling deploy, which doubles them"
    text = f"budget: {sum_text} of {room.allowed} connections ({room.text}); {deploy}"
    return Chosen(chosen, [*said, text])


def _connect_share(case: Case, size: int, overflow: int) -> float:
    """Return the predicted share of the checkouts that open a connection beyond the first `size`."""
    outcomes = case.search.at(case.demands, size, overflow)
    beyond = sum(int(outcome.opened.sum()) for outcome in outcomes) - size * len(outcomes)
    few = beyond <= FEW_CONNECTS  # of a short run a few are a large share, and say nothing
    return 0.0 if few else beyond / max(sum(len(outcome.end) for outcome in outcomes), 1)


def _round_up(seconds: float) -> float:
    """Two digits are enough for a timeout."""
    digits = 10.0 ** (math.floor(math.log10(seconds)) - 1) if seconds > 0 else 1.0
    return round(math.ceil(seconds / digits - 1e-9) * digits, 6)
