"""Advice: overflow, budget, pool_timeout and pool_recycle, once the size is known.

In: what the model predicts, today's settings, the server. Out: settings and the sentences that explain them. FIELD.md
section 4 is the ground; nothing here is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from poolctl.analysis.demand import Demand
from poolctl.analysis.goals import pooled, quantile
from poolctl.analysis.pool_rules import Outcome
from poolctl.analysis.search import Search
from poolctl.trace.report import PoolSettings, ServerInfo
from poolctl.units import format_seconds

RECYCLE_S = 1800.0
"""Where no idle limit on the path is known."""
CONNECTS_ALLOWED = 0.01
"""Overflow is kept where at most this share of the checkouts would open a connection."""
FEW_CONNECTS = 3
TIMEOUT_MOST_S = 30.0


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


def recycle_for(today: float | None) -> float:
    """Return pool_recycle: today's where it is set, else 1800 s; half of any idle limit on the path is the upper
    bound."""
    return today if today is not None and today > 0 else RECYCLE_S


@dataclass(frozen=True)
class Chosen:
    """Settings and what is to be said about them."""

    settings: PoolSettings
    notes: list[str]
    impossible: str = ""
    """Why the server has no room for them; empty when it has."""


def settle(
    search: Search,
    demands: Sequence[Demand],
    grown: Sequence[Outcome],
    size: int,
    today: PoolSettings,
    server: ServerInfo | None,
    processes: int,
    deadline_s: float | None,
) -> Chosen:
    """Return all settings for a pool_size. `grown` is what the model says at that size with headroom."""
    room = budget(server)
    ceiling = size if room.allowed is None else room.allowed // processes - size

    def connect_share(overflow: int) -> float:
        outcomes = search.at(demands, size, overflow)
        beyond = sum(int(outcome.opened.sum()) for outcome in outcomes) - size * len(outcomes)
        few = beyond <= FEW_CONNECTS  # of a short run a few are a large share, and say nothing
        return 0.0 if few else beyond / max(sum(len(outcome.end) for outcome in outcomes), 1)

    overflow = overflow_for(size, max(ceiling, 0), connect_share)
    wait, held = (
        pooled(list(part)) for part in ([o.wait_s for o in grown], [o.ended_at_s - o.acquired_at_s for o in grown])
    )
    limit = min((goal.limit for goal in search.goals if goal.on_time), default=0.05)
    timeout, why = timeout_for(
        today.pool_timeout_s, quantile(wait, 0.999), limit, deadline_s, float(np.nanquantile(held, 0.99))
    )
    chosen = recommended(size, overflow, timeout, today)
    if room.allowed is None:
        return Chosen(chosen, [why])
    total = processes * (size + overflow)
    sum_text = f"{processes} × {size + overflow} = {total}"
    if total > room.allowed:
        hint = "fewer processes, a pooler, or shorter holds"
        return Chosen(
            chosen,
            [why],
            f"no setting fits: {sum_text} connections are needed, {room.allowed} are left ({room.text}): {hint}",
        )
    deploy = f"{'enough' if 2 * total <= room.allowed else 'not enough'} for a rolling deploy, which doubles them"
    text = f"budget: {sum_text} of {room.allowed} connections ({room.text}); {deploy}"
    return Chosen(chosen, [why, text])


def recommended(size: int, overflow: int, timeout_s: float, today: PoolSettings) -> PoolSettings:
    """Return the settings to paste."""
    return PoolSettings(size, overflow, timeout_s, recycle_for(today.pool_recycle_s), today.pre_ping, today.lifo)


def _round_up(seconds: float) -> float:
    """Two digits are enough for a timeout."""
    digits = 10.0 ** (math.floor(math.log10(seconds)) - 1) if seconds > 0 else 1.0
    return round(math.ceil(seconds / digits - 1e-9) * digits, 6)
