"""Pressure: who waited, and what was going on meanwhile.

In: a View. Out: `Pressure`, the numbers that separate a pool that is too small from a leak, from nested checkouts, from
a starved process and from a slow database. Judges nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from poolctl.analysis import stalls, sweep
from poolctl.analysis.breakdown import time_values
from poolctl.analysis.crowding import Crowding, crowding
from poolctl.analysis.on_server import lock_share, unheard_share
from poolctl.analysis.stats import quantile
from poolctl.analysis.view import WAITED_S, Bools, View


@dataclass(frozen=True, slots=True)
class Pressure:
    """What the waiting was like."""

    timed_out: int
    still_waiting: int
    """Requests that had no answer when the window ended."""
    waited_s: float
    """All waiting together, seconds; of those that still wait, until now."""
    longest_s: float
    p95_wait_s: float | None
    full_share: float | None
    """Share of the time in which every connection was in use; None without a limit."""
    nested_share: float
    """Of the connections held while anybody waited, held by a task that was itself waiting for another."""
    leaked: int
    leaked_share: float
    """Mean share of the capacity that had leaked when requests timed out (at the end, when none did)."""
    free_share: float
    """Share of the waiting during which a slot was free."""
    stalled_share: float
    """Share of the waiting while an event loop stood still, or worked off what had piled up meanwhile."""
    stalled_time: float
    """Share of the time in which an event loop stood still."""
    denied_share: float
    """Share of the waiting while a loop was ready to run and got no processor."""
    denied_time: float
    """Share of the time in which a loop was ready to run and got no processor."""
    busy_share: float | None
    """Share of the waiting (without any: of the time) in which a process's interpreter had no moment to spare."""
    unheard_share: float | None
    """Share of what the processes took for SQL in which the server was idle for them; None: it was not watched."""
    sql_share: float | None
    slower: float | None
    """Mean statement time of leases that began with the pool full ÷ with it not full, at the same sites."""
    lock_share: float | None
    """Share of our busy sessions on the server that waited for a lock; None where it was not watched."""
    crowding: Crowding | None = None
    """Why more connections were in use while requests waited; None where there was no quiet time, or no waiting."""


def measure(view: View) -> Pressure:
    """Return the pressure on the pool."""
    waits = view.column("wait_time_s")
    refused = view.ended("timed_out")
    waited = (np.nan_to_num(waits) >= WAITED_S) | refused
    asked, got = view.queued
    still = ~np.isnan(asked) & np.isnan(got)
    so_far = np.maximum(view.length_s - asked[still], 0.0)
    holds, sql = view.column("hold_time_s"), view.column("sql_time_s")
    both = ~np.isnan(holds) & ~np.isnan(sql)
    held = float(holds[both].sum())
    sql_share = min(1.0, float(sql[both].sum()) / held) if held > 0 else None
    return Pressure(
        timed_out=int(refused.sum()),
        still_waiting=int(still.sum()),
        waited_s=float(np.nansum(waits[waited]) + so_far.sum()),
        longest_s=float(max(np.nanmax(waits, initial=0.0), so_far.max(initial=0.0))),
        p95_wait_s=quantile(np.sort(time_values(view, "wait")), 0.95),
        full_share=_full_share(view),
        nested_share=_nested_share(view),
        leaked=int(view.leaked.sum()),
        leaked_share=_leaked_share(view, refused),
        free_share=_free_share(view),
        stalled_share=stalls.share_of_waiting(view),
        stalled_time=stalls.share_of_time(view),
        denied_share=stalls.denied_share(view),
        denied_time=stalls.denied_time(view),
        busy_share=stalls.busy_share(view),
        unheard_share=unheard_share(view, sql_share),
        sql_share=sql_share,
        slower=_slower(view),
        lock_share=lock_share(view),
        crowding=crowding(view) if waited.any() else None,
    )


def _full_share(view: View) -> float | None:
    capacity = view.capacity
    if capacity is None or not math.isfinite(capacity):
        return None
    steps = view.checked_out
    full = sweep.Steps(steps.at, (steps.level >= capacity).astype(np.int64))
    return float(full.means(np.array([0.0, view.length_s]))[0])


def _nested_share(view: View) -> float:
    asked, got = view.queued
    nested = sweep.count(asked[view.nested], got[view.nested])
    anybody = sweep.Steps(view.waiting.at, (view.waiting.level > 0).astype(np.int64))
    at = np.unique(np.concatenate([nested.at, anybody.at, view.checked_out.at, [view.length_s]]))
    if not len(nested.at) or len(at) < 2:
        return 0.0
    weight = anybody.at_instants(at[:-1]) * np.diff(at)
    held = float((view.checked_out.at_instants(at[:-1]) * weight).sum())
    return min(1.0, float((nested.at_instants(at[:-1]) * weight).sum()) / held) if held > 0 else 0.0


def _leaked_share(view: View, refused: Bools) -> float:
    capacity = view.capacity
    leaked = view.leaked & view.open
    if not capacity or not math.isfinite(capacity) or not leaked.any():
        return 0.0
    taken = np.sort(view.column("acquired_at_s")[leaked])
    instants = view.column("ended_at_s")[refused] if refused.any() else np.array([view.length_s])
    return float(np.searchsorted(taken, instants).mean() / capacity)


def _free_share(view: View) -> float:
    """Waiting while fewer slots were taken than there are: the loop was late, not the pool small.

    A slot is taken from the moment its connection is being opened or tested.
    """
    capacity, each = view.capacity, view.settings.capacity
    if capacity is None or each is None or not math.isfinite(capacity):
        return 0.0
    numbers, keys = view.pool_keys
    starts, ends = view.held
    taken = starts - np.nan_to_num(view.column("connect_time_s")) - np.nan_to_num(view.column("ping_time_s"))
    asked, got = view.queued
    free = whole = 0.0
    for number in range(len(keys)):
        mine = numbers == number
        waiting, slots = sweep.count(asked[mine], got[mine]), sweep.count(taken[mine], ends[mine])
        at = np.union1d(waiting.at, slots.at)
        if len(at) > 1:
            amount = waiting.at_instants(at[:-1]) * np.diff(at)
            whole += float(amount.sum())
            free += float(amount[slots.at_instants(at[:-1]) < each].sum())
    return free / whole if whole > 0 else 0.0


def _slower(view: View) -> float | None:
    capacity = view.capacity
    if capacity is None or not math.isfinite(capacity) or not view.acquired.any():
        return None
    site, names = view.codes("site")
    sql, acquired = view.column("sql_time_s"), view.column("acquired_at_s")
    known = view.acquired & ~np.isnan(sql) & (site >= 0)
    full = np.zeros(len(site), np.bool_)
    full[known] = view.checked_out.at_instants(acquired[known]) >= capacity
    ratios, weights = [], []
    for number in range(len(names)):
        crowded, quiet = (sql[known & (site == number) & side] for side in (full, ~full))
        if len(crowded) >= _FEWEST and len(quiet) >= _FEWEST and quiet.mean() > 0:
            ratios.append(crowded.mean() / quiet.mean())
            weights.append(len(crowded))
    return float(np.average(ratios, weights=weights)) if ratios else None


_FEWEST = 20
"""Leases a side. Below this the two means say nothing."""
