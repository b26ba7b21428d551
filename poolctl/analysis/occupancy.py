"""Occupancy: the pool over time.

In: a View. Out: `PoolInfo` with its time line, and how the leases ended. Knows no thresholds.
"""

from __future__ import annotations

import math

import numpy as np

from poolctl.analysis.stats import needed
from poolctl.analysis.sweep import Floats, Ints
from poolctl.analysis.view import View
from poolctl.trace.report import LeaseCounts, PoolInfo, PoolPoint

SLICES = 120
"""The time line has at most so many slices, and at least two fifths of that."""


def pool_info(view: View) -> PoolInfo:
    """Return the pool over the run. Several processes: their pools together."""
    edges = slice_edges(view.length_s)
    checkouts = int(view.acquired.sum())
    mean = float(view.checked_out.integral_to(np.array([0.0, view.length_s])) @ [-1, 1]) / view.length_s
    capacity = view.capacity
    return PoolInfo(
        peak_checked_out=view.checked_out.peak,
        peak_overflow=None if "overflow" in view.untold else view.overflow.peak,
        peak_waiting=None if "waiting" in view.untold else view.waiting.peak,
        mean_checked_out=mean,
        utilisation=mean / capacity if capacity and math.isfinite(capacity) else None,
        connects_per_1000=1000 * view.opened / checkouts if checkouts else None,
        timeline=_timeline(view, edges),
    )


def lease_counts(view: View) -> LeaseCounts:
    """Return how the leases ended; requests that still waited are open."""
    values, names = view.codes("end")
    counts = np.bincount(values, minlength=len(names))
    return LeaseCounts(total=len(values), **{name: int(counts[number]) for number, name in enumerate(names)})


def slice_edges(length: float) -> Floats:
    """Return the edges of the slices: a width that people like (1, 2 or 5 times a power of ten), 48 to 120 of them."""
    least = length / SLICES
    power = 10.0 ** math.floor(math.log10(least))
    width = next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))
    return np.arange(math.ceil(length / width - 1e-9) + 1, dtype=np.float64) * width


def _timeline(view: View, edges: Floats) -> list[PoolPoint]:
    asked = view.column("requested_at_s")
    slice_of = np.searchsorted(edges, asked, side="right") - 1
    inside = (slice_of >= 0) & (slice_of < len(edges) - 1)
    arrivals = np.bincount(slice_of[inside], minlength=len(edges) - 1)
    refused = view.ended("timed_out")
    timed_out = np.histogram(view.column("ended_at_s")[refused], edges)[0]
    busy = [steps.peaks(edges) for steps in (view.checked_out, view.overflow, view.waiting)]
    means = view.checked_out.means(edges)
    p95 = _p95_by_slice(slice_of[inside], view.column("wait_time_s")[inside], len(edges) - 1)
    return [
        PoolPoint(
            at_s=float(edges[i]),
            arrivals=int(arrivals[i]),
            checked_out=int(busy[0][i]),
            mean_checked_out=float(means[i]),
            overflow=int(busy[1][i]),
            waiting=None if "waiting" in view.untold else int(busy[2][i]),
            timed_out=int(timed_out[i]),
            p95_wait_s=p95[i],
        )
        for i in range(len(edges) - 1)
    ]


def _p95_by_slice(slice_of: Ints, waits: Floats, slices: int) -> list[float | None]:
    known = ~np.isnan(waits)
    slice_of, waits = slice_of[known], waits[known]
    order = np.lexsort((waits, slice_of))
    counts = np.bincount(slice_of, minlength=slices)
    ends = np.cumsum(counts)
    found: list[float | None] = []
    for size, end in zip(counts.tolist(), ends.tolist(), strict=True):
        rank = math.ceil(round(0.95 * size, 9))
        found.append(float(waits[order[end - size + rank - 1]]) if size >= needed(0.95) else None)
    return found
