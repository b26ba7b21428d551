"""Limits: where more connections no longer help, because the database or a row lock is the bottleneck.

In: a run's structure and its demand. Out: the load on the database and on each lock, the knee, and what a database 10
or 20 % slower would ask for. Knows nothing of today's settings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from poolctl.analysis.demand import Demand
from poolctl.analysis.engines import Structural
from poolctl.analysis.pool_rules import Floats
from poolctl.analysis.search import Search
from poolctl.analysis.structure import Structure

NEAR = 0.85
"""Load of the database or a lock from which small changes of it decide, and no prediction is precise."""


@dataclass(frozen=True)
class Limits:
    """How near the run is to what no pool size fixes."""

    database: float
    """SQL work offered ÷ cores; 0 where the cores are unknown."""
    lock: float
    """The busiest lock: time it is wanted ÷ time; 0 without locks."""
    knee: int | None
    """Connections per process that keep all cores busy; None where the cores are unknown."""


def limits(structure: Structure, demands: Sequence[Demand]) -> Limits:
    """Return the limits for these demands."""
    work, hold, locked = per_mark(structure)
    marks = np.concatenate([demand.mark for demand in demands])
    at = np.concatenate([demand.at_s for demand in demands])
    span = max(float(at.max() - at.min()), 1e-9)
    cores = structure.database.cores
    lock = structure.programs.lock[marks]
    busiest = max(
        (float(locked[marks[lock == number]].sum()) / span for number in range(structure.database.locks)), default=0.0
    )
    if math.isinf(cores) or not work[marks].sum():
        return Limits(0.0, busiest, None)
    knee = cores * hold[marks].sum() / work[marks].sum() / len(demands)
    return Limits(float(work[marks].sum()) / span / cores, busiest, max(1, math.ceil(knee)))


def per_mark(structure: Structure) -> tuple[Floats, Floats, Floats]:
    """Return each mark's SQL work, its hold without contention, and its time with the lock; seconds."""
    programs = structure.programs
    steps, first, last = programs.steps, programs.first[:-1], programs.first[1:] - 1
    owner = np.repeat(np.arange(len(first)), np.diff(programs.first))
    odd = (np.arange(len(steps)) - first[owner]) % 2 == 1
    work = np.bincount(owner, np.where(odd, steps, 0), minlength=len(first)).astype(np.float64)
    hold = np.bincount(owner, steps, minlength=len(first)).astype(np.float64)
    begin = np.where(programs.lock_step >= 0, programs.lock_step, last)
    summed = np.concatenate([[0.0], np.cumsum(steps)])
    return work, hold, summed[last] - summed[begin]


def stressed(search: Search, engine: Structural, demands: Sequence[Demand], guess: int, slower: float) -> int | None:
    """Return the size needed when all SQL takes `slower` × the work; None where the database cannot carry that."""
    found = limits(engine.structure, demands)
    if found.database * slower >= 1 or found.lock * slower >= 1:
        return None
    return replace(search, engine=replace(engine, slower=slower)).smallest(demands, guess)
