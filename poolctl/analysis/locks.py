"""Locks: sites whose transactions pass one at a time, found in the order in which their statements end.

In: statements of leases (sorted by lease and start) and the sites. Out: the stations, and the statements without their
waiting for them. Knows nothing of the database's other contention.

A transaction that changes a hot row keeps everybody else of its site from finishing the statement that wants the row,
until it commits. So between that statement's end and the end of the holder's last statement no other transaction of
the site finishes it. Where that would have happened often by chance and hardly ever did, there is a lock. Measured: 0
of 350–1,300 expected with a lock, 0.72–1.11 times the expectation without. Many hot rows under one site are not
found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poolctl.analysis.pool_rules import Floats, Ints

EXPECTED = 30
"""Passings that chance must predict before their absence means a lock."""
RARE = 0.1
SEEN_S = 0.001
"""Shorter times with the lock are not counted: an event loop that ends one statement and starts the next in one go
cannot show anybody else's end in between."""
PLACES = 6
"""Statements of a transaction that are tried as the one that takes the lock."""


@dataclass(frozen=True, slots=True)
class Station:
    """One lock."""

    site: int
    """The number of the site whose transactions it serialises."""
    place: int
    """Which of their statements takes it, from 0."""
    expected: float
    """Passings that independence would have shown."""
    observed: int


def find_stations(
    mark: Ints, place: Ints, start: Floats, end: Floats, site: Ints, acquired: Floats, ended: Floats
) -> list[Station]:
    """Return the stations among the sites; of several candidate statements the first."""
    stations = []
    for one in np.unique(site[mark]):
        mine = np.flatnonzero(site[mark] == one)
        begins = mine[place[mine] == 0]
        lasts = mine[np.append(mark[mine][1:] != mark[mine][:-1], True)]
        for number in range(PLACES):
            takes = mine[place[mine] == number]
            if len(takes) < EXPECTED or len(takes) < 0.9 * len(begins):
                break
            last = lasts[np.isin(mark[lasts], mark[takes])]
            later = takes != last
            found = _test(end[takes][later], start[last][later], site == one, acquired, ended)
            if found is not None and found[0] >= EXPECTED and found[1] < RARE * found[0]:
                stations.append(Station(int(one), number, *found))
                break
    return stations


def _test(
    taken: Floats, last_start: Floats, of_site: np.ndarray, acquired: Floats, ended: Floats
) -> tuple[float, int] | None:
    """Return (expected, observed) ends of the statement inside others' time with the lock.

    Expected from how many of the site were holding then: a pool of one lets nobody pass either, and proves nothing.
    """
    ends = np.sort(taken)
    seen = last_start - taken >= SEEN_S
    taken, last_start = taken[seen], last_start[seen]
    if len(taken) < EXPECTED:
        return None
    after, before = np.searchsorted(ends, last_start, side="left"), np.searchsorted(ends, taken, side="right")
    observed = int(np.maximum(after - before, 0).sum())
    holds = of_site & np.isfinite(acquired) & np.isfinite(ended)
    since, until = np.sort(acquired[holds]), np.sort(ended[holds])
    mean_hold = float((ended[holds] - acquired[holds]).mean())
    middle = (taken + last_start) / 2
    others = np.searchsorted(since, middle, side="right") - np.searchsorted(until, middle, side="right") - 1
    expected = float((np.maximum(others, 0) * np.maximum(last_start - taken, 0)).sum() / max(mean_hold, 1e-9))
    return expected, observed


def without_lock_waits(
    stations: list[Station], mark: Ints, place: Ints, start: Floats, end: Floats, site: Ints
) -> Floats:
    """Return the starts of the statements with the waiting for a lock taken out.

    The lock passes in the order in which the statements that take it end: each has it from its own start or from
    the end of the one before, whichever is later.
    """
    started = start.copy()
    for station in stations:
        mine = np.flatnonzero(site[mark] == station.site)
        takes = mine[place[mine] == station.place]
        lasts = mine[np.append(mark[mine][1:] != mark[mine][:-1], True)]
        last = lasts[np.isin(mark[lasts], mark[takes])]
        order = np.argsort(end[takes], kind="stable")
        takes, free = takes[order], end[last[order]]
        granted = np.maximum(start[takes], np.concatenate([[-np.inf], free[:-1]]))
        started[takes] = np.minimum(granted, end[takes])
    return started
