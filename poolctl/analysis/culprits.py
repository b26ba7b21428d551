"""Culprits: the lines of code behind the waiting.

In: a View. Out: for each site what of the others' waiting went on while it held, how long its statements take, how
much of its holding is idle. Judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poolctl.analysis.sweep import Floats
from poolctl.analysis.view import Bools, View


@dataclass(frozen=True, slots=True)
class Culprit:
    """One site."""

    site: str
    """`file:line function`."""
    leases: int
    share: float
    """Of the others' waiting, while it held (nobody waited: of the holding)."""
    hold_s: float
    """Mean; of an open hold, so far."""
    statement_s: float | None
    """Mean; None where it made none."""
    others_statement_s: float | None
    """The mean of all other sites."""
    idle_share: float | None
    """Of its hold, without SQL."""


def culprits(view: View) -> list[Culprit]:
    """Return every known site, the one with the largest share first."""
    site, names = view.codes("site")
    known = site >= 0
    if not known.any():
        return []
    began, ended = view.held
    held = np.where(view.acquired, np.nan_to_num(np.where(np.isnan(ended), view.length_s, ended) - began), 0.0)
    caused = view.wait_caused_s
    weights = caused if caused.sum() > 0 else held
    sql, statements = view.column("sql_time_s"), view.whole("statements")
    whole = ~np.isnan(view.column("hold_time_s")) & ~np.isnan(sql)
    told = ~np.isnan(sql) & (statements > 0)

    def per(values: Floats, mine: Bools) -> Floats:
        return np.bincount(site[known & mine], values[known & mine], minlength=len(names)).astype(np.float64)

    everything = np.ones(len(site), np.bool_)
    leases, share, holding = per(np.ones(len(site)), everything), per(weights, everything), per(held, view.acquired)
    spent, count = per(sql, told), per(statements.astype(np.float64), told)
    finished, worked = per(held, whole), per(sql, whole)
    acquired = per(np.ones(len(site)), view.acquired)
    total = max(float(share.sum()), 1e-12)
    found = [
        Culprit(
            site=names[number],
            leases=int(leases[number]),
            share=float(share[number]) / total,
            hold_s=float(holding[number] / max(acquired[number], 1.0)),
            statement_s=_ratio(spent[number], count[number]),
            others_statement_s=_ratio(spent.sum() - spent[number], count.sum() - count[number]),
            idle_share=None if finished[number] <= 0 else max(0.0, 1 - float(worked[number] / finished[number])),
        )
        for number in np.flatnonzero(leases)
    ]
    return sorted(found, key=lambda culprit: -culprit.share)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def brief(site: str) -> str:
    """Return a site as a sentence has room for it: `orders.py:42 handler`."""
    place, _, function = site.partition(" ")
    return f"{place.rpartition('/')[2]} {function.rpartition('<locals>.')[2]}".rstrip()
