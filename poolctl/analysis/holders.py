"""Holders: who holds connections at an instant, and since when: the dump of a pool.

In: a View and an instant. Out: one line for each of the oldest holders. Judges nothing.
"""

from __future__ import annotations

import numpy as np

from poolctl.analysis.view import View
from poolctl.units import format_seconds

MOST = 5
"""Holders named at most, the oldest first."""


def holders(view: View, at_s: float, most: int = MOST) -> list[str]:
    """Return who held connections at this second of the run: since when, at which line, for what, on which backend."""
    starts, ends = view.held
    with np.errstate(invalid="ignore"):
        there = (starts <= at_s) & (np.isnan(ends) | (ends > at_s))
    rows = np.flatnonzero(there)
    rows = rows[np.argsort(starts[rows], kind="stable")]
    (site, sites), (context, contexts) = view.codes("site"), view.codes("context")
    process, backend = view.whole("process"), view.whole("backend_pid")
    lines = []
    for row in rows[:most]:
        name = sites[site[row]] if site[row] >= 0 else "an unknown line"
        what = f" ({contexts[context[row]]})" if context[row] >= 0 else ""
        where = f", backend {backend[row]}" if backend[row] else ""
        since = f"since {starts[row]:.2f} s ({format_seconds(max(at_s - starts[row], 0.0))})"
        lines.append(f"held by {name}{what}, {since}, process {process[row]}{where}")
    if len(rows) > most:
        lines.append(f"and by {len(rows) - most} more")
    return lines
