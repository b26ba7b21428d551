"""Facts: leaks, nested checkouts, holds across other work, on both sides. What no machine disturbs.

In: the evidence of all runs of base and head that were recorded whole. Out: rows, each with its verdict, and notes.
None of them is an estimate: one leak where the base had none is a leak. Knows no times of a run as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from poolctl.analysis import stats
from poolctl.analysis.evidence import Evidence
from poolctl.analysis.ratio import rates
from poolctl.trace.comparison import Measure, Role
from poolctl.trace.report import Outcome
from poolctl.units import format_share

LEAK_LEVEL = 0.01
"""Where the base leaks as well, more leaks are proven at this level."""
IDLE, BUSY, IDLE_S = 0.5, 0.4, 0.005
"""A place holds across other work when more than IDLE of its hold, and IDLE_S, is idle in head and was not in base."""


def facts(base: Sequence[Evidence], head: Sequence[Evidence]) -> tuple[list[Measure], list[str]]:
    """Return the rows of leaks, nested checkouts and holds across other work, and notes."""
    rows, notes = [_leaks(base, head)], []
    before, now = (frozenset().union(*(item.nested for item in side)) for side in (base, head))
    fresh = sorted(now - before)
    reason = f"new: {', '.join(fresh)}" if fresh else ""
    verdict = Outcome.FAIL if fresh else Outcome.PASS
    rows.append(Measure("nested checkouts", Role.STRUCTURE, "count", len(before), len(now), verdict, reason=reason))
    across, unknown = _across(base, head)
    reason = f"{', '.join(across)}: held while something else is done, in head only" if across else ""
    verdict = Outcome.FAIL if across else Outcome.PASS
    held = [_held(base), _held(head)]
    rows.append(
        Measure("holds across other work", Role.STRUCTURE, "count", len(held[0]), len(held[1]), verdict, reason=reason)
    )
    if unknown:
        notes.append(f"only in head, so compared with nothing: {', '.join(unknown)}")
    return rows, notes


def _leaks(base: Sequence[Evidence], head: Sequence[Evidence]) -> Measure:
    (x, n), (y, m) = (
        (sum(e.counts["leaks"].hits for e in side), sum(e.counts["leaks"].of for e in side))
        if all("leaks" in e.counts for e in side)
        else (0, 0)
        for side in (base, head)
    )
    if y == 0:
        most = format_share(stats.share_interval(0, m)[1]) if m else "—"
        return Measure(
            "leaks", Role.STRUCTURE, "count", x, y, Outcome.PASS, reason=f"none in {m:,} leases: at most {most}"
        )
    if x == 0:
        return Measure("leaks", Role.STRUCTURE, "count", x, y, Outcome.FAIL, reason=f"{y:,} of {m:,} never returned")
    found = rates((x, n), (y, m), LEAK_LEVEL, 0.0)
    if found is not None and found.above(0.0):
        reason = f"{y:,} of {m:,} never returned, in base {x:,} of {n:,}"
        return Measure("leaks", Role.STRUCTURE, "count", x, y, Outcome.FAIL, math.exp(found.log_ratio), reason=reason)
    return Measure("leaks", Role.STRUCTURE, "count", x, y, Outcome.INCONCLUSIVE, reason="base leaks as well")


def _held(side: Sequence[Evidence]) -> set[str]:
    names = {name for item in side for name in item.idle}
    return {name for name in names if _typical(side, name)[0] > IDLE and _typical(side, name)[1] > IDLE_S}


def _across(base: Sequence[Evidence], head: Sequence[Evidence]) -> tuple[list[str], list[str]]:
    known = {name for item in base for name in item.idle}
    now = _held(head)
    found = [
        name
        for name in sorted(now & known)
        if _typical(base, name)[0] < BUSY and _typical(base, name)[1] < _typical(head, name)[1] / 2
    ]
    return found, sorted(now - known)


def _typical(side: Sequence[Evidence], name: str) -> tuple[float, float]:
    values = [item.idle[name] for item in side if name in item.idle]
    if not values:
        return 0.0, 0.0
    return float(np.median([share for share, _ in values])), float(np.median([length for _, length in values]))
