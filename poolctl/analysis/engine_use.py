"""Engine use: which engines each process has for a URL, and how much each of them is used.

In: a View. Out: engines by process and URL. Judges one thing: whether they are made and thrown away.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median

import numpy as np

from poolctl.analysis.leases import Pool
from poolctl.analysis.view import View

MANY = 5
"""Engines for one URL in one process, from which on a pattern is looked for."""
FEW_LEASES = 3
"""Leases of the middle one of them, up to which they are made for a request and forgotten."""


@dataclass(frozen=True, slots=True)
class EngineUse:
    """One engine of one process."""

    pool: Pool
    """As it was configured last."""
    number: int
    """In `View.pool_keys`."""
    leases: int


def engines(view: View) -> dict[tuple[int, str], list[EngineUse]]:
    """Return the engines that were asked, by (process, URL); those whose URL was not seen are left out."""
    numbers, keys = view.pool_keys
    counts = np.bincount(numbers, minlength=len(keys))
    known = {(pool.process, pool.engine or str(pool.number)): pool for pool in view.tables.pools}
    found: dict[tuple[int, str], list[EngineUse]] = defaultdict(list)
    for number, key in enumerate(keys):
        pool = known.get(key)
        if pool is not None and pool.url:
            found[key[0], pool.url].append(EngineUse(pool, number, int(counts[number])))
    return dict(found)


def thrown_away(group: list[EngineUse]) -> bool:
    """Whether engines for one URL are made for a request or so, and forgotten."""
    return len(group) >= MANY and median(use.leases for use in group) <= FEW_LEASES
