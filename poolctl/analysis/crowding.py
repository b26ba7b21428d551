"""Crowding: when a pool ran full, was it more requests or longer holds?

In: a View. Out: `Crowding`, or None where the run has no quiet time to compare with. The connections in use are Σ λ·h
over the sites (Little); between the quiet and the crowded time they grow by Σ Δλ·h̄ (load) + Σ λ̄·Δh (longer holds), the
decomposition of the measured notes on sizing. Judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poolctl.analysis.occupancy import slice_edges
from poolctl.analysis.sweep import Floats
from poolctl.analysis.view import Bools, View

CROWDED = 0.1
"""A slice of the run is crowded from so many requests waiting on average."""
FEWEST = 30
"""Holds on either side. Below this their means say nothing."""


@dataclass(frozen=True, slots=True)
class Crowding:
    """Why more connections were in use while requests waited."""

    by_load: float
    """Connections that more requests account for."""
    by_holds: float
    """Connections that longer holds account for."""
    sql: float
    """Share of the longer holding that was SQL."""

    @property
    def slower(self) -> float:
        """Share of the growth that longer holds account for, 0 to 1."""
        load, holds = max(self.by_load, 0.0), max(self.by_holds, 0.0)
        return holds / (load + holds) if load + holds > 0 else 0.0


def crowding(view: View) -> Crowding | None:
    """Return what grew from the quiet time to the crowded time."""
    edges = slice_edges(view.length_s)
    crowded = view.waiting.means(edges) > CROWDED
    asked, holds, sql = view.column("requested_at_s"), view.column("hold_time_s"), view.column("sql_time_s")
    number = np.clip(np.searchsorted(edges, asked, side="right") - 1, 0, len(crowded) - 1)
    during = crowded[number]
    whole = ~np.isnan(holds) & ~np.isnan(sql)
    if min((whole & during).sum(), (whole & ~during).sum()) < FEWEST:
        return None
    spans = np.diff(edges)
    lengths = float(spans[~crowded].sum()), float(spans[crowded].sum())
    site, names = view.codes("site")
    by_load = by_holds = extra_sql = 0.0
    for one in range(-1, len(names)):
        mine = site == one
        rates = [float((mine & side).sum()) / length for side, length in zip((~during, during), lengths, strict=True)]
        held, worked = (_means(values, mine & whole, during) for values in (holds, sql))
        if held is None or worked is None:
            continue
        by_load += (rates[1] - rates[0]) * (held[0] + held[1]) / 2
        by_holds += (rates[0] + rates[1]) / 2 * (held[1] - held[0])
        extra_sql += (rates[0] + rates[1]) / 2 * (worked[1] - worked[0])
    return Crowding(by_load, by_holds, min(1.0, max(0.0, extra_sql / by_holds)) if by_holds > 0 else 0.0)


def _means(values: Floats, mine: Bools, during: Bools) -> tuple[float, float] | None:
    """Return the means of the quiet and the crowded time; a site that is seen in one of them only has not changed."""
    quiet, crowded = values[mine & ~during], values[mine & during]
    if not len(quiet) and not len(crowded):
        return None
    either = float(np.concatenate([quiet, crowded]).mean())
    return float(quiet.mean()) if len(quiet) else either, float(crowded.mean()) if len(crowded) else either
