"""Cores: how much SQL the server ran side by side at full speed, seen in one run.

In: when each piece of SQL started and ended. Out: the virtual clock of a server with so many cores, and the cores
themselves where nobody knows them or where fewer were at work than are there. Knows nothing of leases and sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from poolctl.analysis.pool_rules import Floats, Ints

SATURATED = 200
"""Completions that must be seen at twice the cores before cores are estimated."""
ALONE = 100
"""Statements of a kind that must be seen alone from beginning to end before the kind is compared."""
OUTLAST = 0.02
"""Most of a kind that may outlast every one that was seen whole: of longer ones the mean would say too little."""
COVERED = 0.5
"""Share of the SQL time that the kinds seen alone must make up: cheap statements do not speak for dear ones."""
CLEARLY = 2.0
"""Standard errors by which a statement alone must be cheaper before the cores that were told are doubted."""
WINDOW_S = 1.0
"""What ran alone stands for what ran in the same window: machines change their speed from one second to the next."""


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


def effective_cores(starts: Floats, ends: Floats, kind: Ints, cores: float) -> float:
    """Return the cores with which statements have, in the crowd, the work that they have alone: at most `cores`.

    `kind` is a number for statements that ask for the same, -1 for what is not to be compared. Where two backends are
    active the scheduler may leave one core idle, and a short statement waits for a time slice: fewer cores are at work
    than there are, and work that is inferred with all of them is too much (measured: 1.5 to 1.75 of 1.88 cores, work 9
    to 14 % too high). What a kind takes alone is the mean of those that began alone, cut short when another one
    starts; that is independent of how long they would have taken, so Kaplan and Meier's mean (1958) has no bias from
    it. The work in the crowd, Σ over states n of time × min(1, cores ÷ n), then tells the cores.
    """
    if not 1.0 < cores < np.inf:
        return cores
    compared, alone, error = _alone(starts, ends, kind)
    length = ends - starts
    if not compared.any() or length[compared].sum() < COVERED * length[kind >= 0].sum():
        return cores
    tried = np.append(np.arange(1.0, cores), cores)
    work = _work(starts, ends, compared, tried)
    if work[-1] <= alone + CLEARLY * error:
        return cores
    return float(np.interp(alone, work, tried))  # exact: between whole numbers of cores work is linear


def _work(starts: Floats, ends: Floats, compared: npt.NDArray[np.bool_], cores: Floats) -> Floats:
    """Return the work of the compared pieces altogether, for each number of cores."""
    at, change, piece = _changes(starts, ends)
    active, mine = np.cumsum(change)[:-1], np.cumsum(change * compared[piece])[:-1]
    spent = np.bincount(active, np.diff(at) * mine)
    states = np.maximum(np.arange(len(spent)), 1.0)
    return np.array([float((spent * np.minimum(1.0, each / states)).sum()) for each in cores])


def _alone(starts: Floats, ends: Floats, kind: Ints) -> tuple[npt.NDArray[np.bool_], float, float]:
    """Return which pieces are of kinds seen alone, what all of them would take alone, and its standard error."""
    begun, over = np.append(np.sort(starts), np.inf), np.sort(ends)
    before = np.searchsorted(begun, starts)
    began_alone = before <= np.searchsorted(over, starts, side="right")
    joined_at = begun[before + 1]
    time, whole = np.minimum(ends, joined_at) - starts, ends <= joined_at
    window = ((starts - starts.min(initial=0.0)) / WINDOW_S).astype(np.int64)
    compared, total, variance = np.zeros(len(starts), dtype=np.bool_), 0.0, 0.0
    enough = np.bincount(kind[began_alone & whole & (kind >= 0)]) >= ALONE
    for one in np.flatnonzero(enough):
        mine = np.flatnonzero(kind == one)
        seen = mine[began_alone[mine]]
        many, few = (np.bincount(window[each], minlength=window.max() + 1) for each in (mine, seen))
        weight = many[window[seen]] / few[window[seen]]
        mean, left = censored_mean(time[seen], whole[seen], weight)
        if left > OUTLAST:
            continue
        theirs = mine[few[window[mine]] > 0]
        compared[theirs] = True
        total += len(theirs) * mean
        counted = weight.sum() ** 2 / (weight**2).sum() * whole[seen].mean()
        variance += len(theirs) ** 2 * float(np.var(time[seen][whole[seen]])) / counted
    return compared, total, float(np.sqrt(variance))


def censored_mean(time: Floats, whole: npt.NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    """Return the mean of times of which some were cut short, and the share that outlasts the last one seen whole.

    The area under the product-limit estimate of the survival function (Kaplan and Meier 1958), up to the longest time.
    What cut a time short must not depend on how long it would have been.
    """
    order = np.lexsort((~whole, time))
    time, whole, weight = time[order], whole[order], weight[order]
    at_risk = np.cumsum(weight[::-1])[::-1]
    survival = np.concatenate([[1.0], np.cumprod(1 - np.where(whole, weight / at_risk, 0.0))])
    left = 0.0 if whole[-1] else float(survival[-1])
    return float((survival[:-1] * np.diff(time, prepend=0.0)).sum()), left
