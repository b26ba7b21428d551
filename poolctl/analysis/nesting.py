"""Nesting: which requests were made by a task that held another connection of the same pool.

In: a View. Out: masks over the requests. Judges nothing.

The number of a task is its address: once it is gone, another task may have it. So a lease that was never given back
nests only what its task asked for next and is still waiting for, and only where the stack says so: the function that
took the first connection is still running when the second one is asked for. A generator that hands out a connection (a
FastAPI dependency) is on no stack: there it counts where nearly all connections are held in that way, as in a deadlock.
"""

from __future__ import annotations

import numpy as np

from poolctl.analysis.sweep import Ints
from poolctl.analysis.view import Bools, View

NEARLY_ALL = 0.8


def nesting(view: View) -> tuple[Bools, Bools]:
    """Return the nested requests, and the leases whose task waits for another connection to this hour."""
    numbers, _ = view.pool_keys
    task = view.tables.leases["task"].to_numpy(dtype=np.uint64)[view.order]
    asked, (starts, ends) = view.column("requested_at_s"), view.held
    order = np.lexsort((asked, task, numbers))
    until = np.where(np.isnan(ends[order]) | np.isnan(starts[order]), -1.0, ends[order])
    changes = np.append(True, (task[order][1:] != task[order][:-1]) | (numbers[order][1:] != numbers[order][:-1]))
    group = np.cumsum(changes[: len(order)])
    far = max(float(until.max(initial=0.0)) * 2, 1.0)
    latest = np.maximum.accumulate(until + group * far) - group * far
    same = ~changes[1 : len(order)] & (task[order][1:] != 0)
    never = same & view.open[order][:-1] & (view.ended("open") & ~view.acquired)[order][1:]
    stuck = _confirmed(view, order[:-1][never], order[1:][never])
    nested, holding = np.zeros(len(order), np.bool_), np.zeros(len(order), np.bool_)
    nested[order[1:]] = same & (latest[:-1] > asked[order][1:])
    nested[order[1:][never][stuck]] = True
    holding[order[:-1][never][stuck]] = True
    return nested, holding


def _confirmed(view: View, outer: Ints, inner: Ints) -> Bools:
    """Return for pairs that never ended which of them are one task's."""
    if len(outer) and len(outer) >= NEARLY_ALL * view.open.sum():
        return np.ones(len(outer), np.bool_)
    codes, names = view.codes("site")
    stacks = view.tables.told.stacks
    said = [
        first >= 0 and second >= 0 and _runs(names[first], names[second], stacks.get(names[second]))
        for first, second in zip(codes[outer], codes[inner], strict=True)
    ]
    return np.array(said, np.bool_)


def _runs(outer: str, inner: str, stack: list[str] | None) -> bool:
    """Whether the function of the outer site is on the inner one's stack; without a stack nothing speaks against it."""
    if stack is None:
        return True
    return _function(outer) in {_function(frame) for frame in (stack[1:] if outer == inner else stack)}


def _function(site: str) -> tuple[str, str]:
    """Return file and function of `file:line function`."""
    place, _, function = site.partition(" ")
    return place.rpartition(":")[0], function
