"""Lock queue: what the server saw of the watched connections that waited for a lock, and who blocked them.

In: a View with samples of the server. Out: the share of the lock waits; the blockers with the line that holds. A sample
names its backends by their pid, which the leases know, too; where none of them is known (a proxy in between), all
sessions count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from poolctl.analysis.view import View


@dataclass(frozen=True, slots=True)
class Blocker:
    """Who kept others waiting for a lock."""

    share: float
    """Of the lock waits, those that it was in the way of."""
    site: str | None
    """The line that held the connection; None: none of the watched processes' connections."""
    backend_pid: int
    query: str
    """Its last statement, without literals; empty: not to be seen."""


def lock_share(view: View) -> float | None:
    """Return the share of the busy sessions that waited for a lock; None where the server was not watched, or idle."""
    active = locks = 0
    for sample in view.server_samples:
        mine = own(view, sample)
        if mine is None:
            active += int(sample.get("active") or 0)
            locks += int(sample.get("lock_waits") or 0)
        else:
            active += sum(backend.get("state") == "active" for backend in mine)
            locks += sum(_waits_for_lock(backend) for backend in mine)
    return locks / active if active else None


def own(view: View, sample: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the backends of a sample that the watched processes hold; None where they cannot be told apart."""
    known = view.backend_pids
    backends = sample.get("backends")
    if not known or not backends:
        return None
    mine = [backend for backend in backends if backend.get("pid") in known]
    return mine or None


def blockers(view: View) -> list[Blocker]:
    """Return who was in the way of those who waited for a lock, the worst first. Only heads of queues count."""
    found: Counter[tuple[int, str | None]] = Counter()
    queries: dict[int, str] = {}
    waits = 0
    for sample in view.server_samples:
        by_pid = {backend.get("pid"): backend for backend in sample.get("backends") or ()}
        waiting = [backend for backend in own(view, sample) or () if _waits_for_lock(backend)]
        waits += len(waiting)
        at_s = view.second_of(int(sample["at_ns"]))
        for backend in waiting:
            for pid in _heads(backend, by_pid):
                found[pid, holder(view, pid, at_s)] += 1
                queries[pid] = str(by_pid.get(pid, {}).get("query") or "")
    return [Blocker(count / waits, site, pid, queries[pid]) for (pid, site), count in _by_site(found)]


def _by_site(found: Counter[tuple[int, str | None]]) -> list[tuple[tuple[int, str | None], int]]:
    """Add up the backends of one site: a hot row is held by one after the other."""
    totals: Counter[str | None] = Counter()
    first: dict[str | None, int] = {}
    others = []
    for (pid, site), count in found.most_common():
        if site is None:
            others.append(((pid, site), count))
            continue
        totals[site] += count
        first.setdefault(site, pid)
    named = [((first[site], site), count) for site, count in totals.items()]
    return sorted([*named, *others], key=lambda pair: -pair[1])


def _heads(backend: dict[str, Any], by_pid: dict[Any, dict[str, Any]]) -> set[int]:
    """Return those at the heads of the queues that a backend stands in: who blocks without being blocked."""
    heads, seen, left = set(), set(), list(backend.get("blocked_by") or ())
    while left:
        pid = left.pop()
        if pid in seen:
            continue
        seen.add(pid)
        further = by_pid.get(pid, {}).get("blocked_by")
        if further:
            left += further
        else:
            heads.add(int(pid))
    return heads


def holder(view: View, backend_pid: int, at_s: float) -> str | None:
    """Return the site that held this backend's connection at this second; None: nobody of ours."""
    starts, ends = view.held
    with np.errstate(invalid="ignore"):
        there = (starts <= at_s) & (np.isnan(ends) | (ends >= at_s)) & (view.whole("backend_pid") == backend_pid)
    rows = np.flatnonzero(there)
    site, names = view.codes("site")
    return names[site[rows[-1]]] if len(rows) and site[rows[-1]] >= 0 else None


def _waits_for_lock(backend: dict[str, Any]) -> bool:
    return str(backend.get("wait") or "").lower().startswith("lock")
