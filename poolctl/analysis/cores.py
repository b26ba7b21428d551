"""Cores: how much SQL the server ran side by side at full speed, seen in one run.

In: when each piece of SQL started and ended. Out: the virtual clock of a server with so many cores, and the cores
themselves where nobody knows them. Knows nothing of leases and sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poolctl.analysis.pool_rules import Floats, Ints

SATURATED = 200
"""Completions that must be seen at twice the cores before cores are estimated."""


@dataclass(frozen=True)
class Clock:
    """Virtual time, linear between the instants at which something started or ended."""

    at_s: Floats
    virtual_s: Floats

    def __call__(self, instants: Floats) -> Floats:
        """Return V at these instants."""
        return np.interp(instants, self.at_s, self.virtual_s)


def virtual_time(starts: Floats, ends: Floats, cores: float) -> tuple[Clock, int]:
    """Return the virtual clock V(t) = ∫ min(1, cores ÷ n(u)) du of what ran when, and the most that ran at once."""
    at, change, _ = _changes(starts, ends)
    active = np.cumsum(change)
    speed = np.minimum(1.0, cores / np.maximum(active, 1.0))
    passed = np.concatenate([[0.0], np.cumsum(np.diff(at) * speed[:-1])])
    return Clock(at, passed), int(active.max(initial=0))


def _changes(starts: Floats, ends: Floats) -> tuple[Floats, Ints, Ints]:
    """Return the instants at which the number of active pieces changes, in order, by how much, and by which piece."""
    at = np.concatenate([starts, ends])
    order = np.argsort(at, kind="stable")
    piece = order % max(len(starts), 1)
    return at[order], np.where(order < len(starts), 1, -1), piece


def estimate_cores(starts: Floats, ends: Floats) -> float | None:
    """Return the cores from how fast pieces of SQL complete with many active, against one active; None: not seen.

    Counting completions is right where fitting durations on concurrency is not: the system favours newcomers, so
    durations of those that met a crowd are biased (notes: 3.3 for a true 2).
    """
    at, change, _ = _changes(starts, ends)
    before = np.concatenate([[0], np.cumsum(change)[:-1]])
    states = int(before.max(initial=0)) + 1
    spent = np.bincount(before[1:], np.diff(at), minlength=states)
    completed = np.bincount(before[change < 0], minlength=states)
    if states < 3 or completed[1] < 30 or spent[1] <= 0:
        return None
    alone = completed[1] / spent[1]
    cores = 1.0
    for _ in range(20):
        crowd = int(np.ceil(2 * cores))
        if crowd >= states or completed[crowd:].sum() < SATURATED:
            return None
        found = max(float(completed[crowd:].sum() / spent[crowd:].sum() / alone), 1.0)
        if abs(found - cores) < 0.05:
            break
        cores = found
    return cores
