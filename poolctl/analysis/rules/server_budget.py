"""The pools together may open more connections than the server allows.

What it detects
    Processes × (pool_size + max_overflow) above max_connections − reserved − the sessions of others; and, as a note,
    a budget that holds, but not while a rolling deploy runs old and new processes side by side.

Why it matters
    When all pools are full at once the server refuses: "too many clients already", for everybody who shares it. A
    rolling deploy needs twice the budget.

How to fix it
    Fewer or smaller pools: the advice names the capacity that fits. Or a pooler (PgBouncer) in front of the server.

When it is wrong
    Other sessions were counted once, when the run began; of those, the pools' own that were open already are taken off
    as far as they were used. Where a pooler is in between, its limit counts, not the server's: known with `--proxy`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from poolctl.analysis.rule import Rule
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, ProxyInfo, Severity

RULE = Rule("PC501", "server-budget", Severity.ERROR)


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when the pools may ask for more than the server has."""
    server, each = view.target.server, view.settings.capacity
    if each is None or view.capacity is None or not math.isfinite(each):
        return
    processes = max(1, len(view.pool_keys[1]), int(view.tables.meta.get("assumed_processes") or 0))
    if view.target.proxy is not None:
        yield from _of_proxy(view, view.target.proxy, processes, _wanted(view, processes, each))
        return
    if server.max_connections is None:
        return
    reserved, others = server.reserved_connections or 0, max(0, (server.in_use or 0) - _ours_before(view))
    budget = server.max_connections - reserved - others
    wanted = _wanted(view, processes, each)
    evidence = [
        f"max_connections {server.max_connections} − {reserved} reserved − {others} of others = {budget}",
        f"the pools may open {wanted:g}",
    ]
    if server.max_used_connections is not None:
        evidence.append(f"most at once since the server started: {server.max_used_connections}")
    fits = f"pool_size + max_overflow ≤ {max(1, budget // processes)} a process (half of it with rolling deploys)"
    if wanted > budget:
        yield RULE.finding(f"{processes} × {each:g} connections may be asked for, {budget} are there", evidence, fits)
    elif 2 * wanted > budget:
        yield RULE.finding(
            f"{processes} × {each:g} connections fit into {budget}, but not twice, as a rolling deploy needs them",
            [*evidence, f"old and new processes side by side: {2 * wanted:g}"],
            f"pool_size + max_overflow ≤ {max(1, budget // (2 * processes))} a process, or deploy without overlap",
            severity=Severity.INFO,
        )


def _of_proxy(view: View, proxy: ProxyInfo, processes: int, wanted: float) -> Iterator[Finding]:
    """Behind a pooler, its clients are what is limited, and its own pools are what the server carries."""
    limit, each = proxy.max_client_conn, view.settings.capacity
    if limit is not None and wanted > limit:
        yield RULE.finding(
            f"{processes} × {each:g} connections may be asked for, {proxy.name} lets {limit} in",
            [f"{proxy.name}'s max_client_conn {limit}; the pools may open {wanted:g}"],
            f"max_client_conn = {2 * wanted:.0f} (a rolling deploy included), "
            f"or pool_size + max_overflow ≤ {max(1, limit // processes)} a process",
        )


def _wanted(view: View, processes: int, each: float) -> float:
    """Return what all pools together may open; pools that differ count with what each of them may."""
    capacities = [pool.settings.capacity for pool in view.pools]
    known = [one for one in capacities if one is not None and math.isfinite(one)]
    return sum(known) if len(known) == processes else processes * each


def _ours_before(view: View) -> int:
    """Return how many of the server's sessions at the beginning were the pools' own: open before they were watched."""
    leases = view.tables.leases
    used = leases[leases["connection"] > 0].sort_values("acquired_at_s", kind="stable")
    first = used.drop_duplicates(["process", "connection"])
    return int((~first["fresh"].to_numpy(dtype=np.bool_) & (first["backend_pid"] > 0)).sum())
