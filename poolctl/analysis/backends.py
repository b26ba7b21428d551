"""Backends: what the server said of the leases that matter: still open, waiting for a lock, or at the head of a queue.

In: a View with samples of the server. Out: `BackendRow` records, the blocked and their blockers first; and what could
not be seen, in sentences. Judges nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from poolctl.analysis.sessions import Sessions
from poolctl.analysis.view import View
from poolctl.trace.report import BackendRow

MOST = 20


def backends(view: View, most: int = MOST) -> list[BackendRow]:
    """Return what the server said last of each backend that matters."""
    seen = Sessions(view)
    if not seen.within or seen.behind_proxy:
        return []
    told: dict[int, tuple[int, float, dict[str, Any]]] = {}
    for blocked in seen.blocked():
        told[int(blocked.backend["pid"])] = (1, blocked.at_s, blocked.backend)
        told[blocked.root] = (0, blocked.at_s, blocked.holder or {"pid": blocked.root})
    at_s, last = seen.within[-1]
    open_pids = set(view.whole("backend_pid")[view.open].tolist())
    for pid, backend in seen.backends(last).items():
        if pid in open_pids and pid not in told:
            idle = str(backend.get("state", "")).startswith("idle in transaction")
            told[pid] = (2 if idle else 3, at_s, backend)
    ordered = sorted(told.values(), key=lambda row: (row[0], -float(row[2].get("transaction_s") or 0.0)))
    return [_row(view, seen, at, backend) for _, at, backend in ordered[:most]]


def server_blind(view: View) -> list[str]:
    """Return what could not be seen of the server, one sentence each; nothing where nobody looked."""
    said = [str(line) for line in view.tables.meta.get("server_blind") or ()]
    if not view.server_samples:
        return said
    proxy = view.target.proxy
    if proxy is not None:
        mode = f" ({proxy.pool_mode} mode)" if proxy.pool_mode else ""
        said.append(f"which backend works for which lease: {proxy.name} lends them{mode}")
    elif view.acquired.any() and not Sessions(view).known:
        said.append(f"which backend works for which lease: {view.target.driver} does not tell its connection's")
    elif view.acquired.any() and (seen := _seen(view)) and not Sessions(view).known & seen:
        said.append("which backend works for which lease: the server knows none of them (a proxy in between: --proxy)")
    return said


def _seen(view: View) -> set[int]:
    """Return the backends of all samples."""
    return {int(backend["pid"]) for sample in view.server_samples for backend in sample.get("backends") or ()}


def _row(view: View, seen: Sessions, at_s: float, backend: dict[str, Any]) -> BackendRow:
    pid = int(backend["pid"])
    lease = seen.lease_of(pid, at_s)
    site = context = end = None
    held = None
    if lease is not None:
        (sites, names), (contexts, labels), (ends, words) = (view.codes(name) for name in ("site", "context", "end"))
        site = names[sites[lease]] if sites[lease] >= 0 else None
        context = labels[contexts[lease]] if contexts[lease] >= 0 else None
        end = "leaked" if view.leaked[lease] else words[ends[lease]]
        began, ended = (float(values[lease]) for values in view.held)
        held = (view.length_s if np.isnan(ended) else ended) - began
    return BackendRow(
        backend_pid=pid,
        site=site,
        context=context,
        end=end,
        hold_time_s=held,
        at_s=at_s,
        application=str(backend.get("application") or backend.get("user") or ""),
        state=backend.get("state"),
        wait=backend.get("wait"),
        transaction_s=backend.get("transaction_s"),
        query=str(backend.get("query") or ""),
        blocked_by=[int(other) for other in backend.get("blocked_by") or ()],
    )
