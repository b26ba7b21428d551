"""Sweep: how many at once, over time, exactly.

In: starts and ends of intervals, in seconds. Out: step functions with their levels, maxima, means and integrals. All of
it sorts and sums whole arrays: a million intervals take a fraction of a second. Knows nothing of leases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Steps:
    """A step function: `level[i]` holds from `at[i]` until `at[i + 1]`; before the first instant it is 0."""

    at: Floats
    level: Ints

    @property
    def peak(self) -> int:
        """The highest level, at least 0."""
        return int(self.level.max(initial=0))

    def integral_to(self, instants: Floats) -> Floats:
        """Return the integral from the first step to each of these instants."""
        if not len(self.at):
            return np.zeros(len(instants))
        area = np.concatenate([[0.0], np.cumsum(self.level[:-1] * np.diff(self.at))])
        where = np.searchsorted(self.at, instants, side="right") - 1
        known = np.maximum(where, 0)
        found = area[known] + self.level[known] * (instants - self.at[known])
        return np.where(where < 0, 0.0, found)

    def at_instants(self, instants: Floats) -> Ints:
        """Return the level at each of these instants, steps at the same instant included."""
        where = np.searchsorted(self.at, instants, side="right") - 1
        return np.where(where < 0, 0, np.append(self.level, 0)[where]).astype(np.int64)

    def means(self, edges: Floats) -> Floats:
        """Return the time-weighted mean between each edge and the next."""
        return np.diff(self.integral_to(edges)) / np.diff(edges)

    def peaks(self, edges: Floats) -> Ints:
        """Return the highest level between each edge and the next, the level that comes in included."""
        before = self.at_instants(edges[:-1])
        if not len(self.at):
            return before
        first = np.searchsorted(self.at, edges)
        highest = np.maximum.reduceat(np.append(self.level, np.int64(0)), np.minimum(first[:-1], len(self.at)))
        inside = first[1:] > first[:-1]
        return np.where(inside, np.maximum(before, highest), before)


def count(starts: Floats, ends: Floats) -> Steps:
    """Return how many of the intervals are running; an end of NaN never comes, a start of NaN never began.

    At one instant ends come before starts, so that a connection handed from one holder to the next counts once. An
    interval without length does not count.
    """
    began = ~np.isnan(starts)
    begin, finish = starts[began], ends[began]
    finish = finish[~np.isnan(finish)]
    moments = np.concatenate([finish, begin])
    change = np.concatenate([np.full(len(finish), -1, np.int64), np.ones(len(begin), np.int64)])
    order = np.argsort(moments, kind="stable")
    at, level = moments[order], np.cumsum(change[order])
    # Between the ends and the starts of one instant, an empty interval would count below zero: keep the last of each.
    last = np.append(at[1:] != at[:-1], True) if len(at) else np.empty(0, np.bool_)
    return Steps(at[last], level[last])


def total(parts: list[Steps]) -> Steps:
    """Return the sum of step functions."""
    at = np.concatenate([part.at for part in parts]) if parts else np.empty(0)
    change = np.concatenate([np.diff(part.level, prepend=np.int64(0)) for part in parts]) if parts else np.empty(0, int)
    order = np.argsort(at, kind="stable")
    merged, level = at[order], np.cumsum(change[order])
    last = np.append(merged[1:] != merged[:-1], True) if len(merged) else np.empty(0, np.bool_)
    return Steps(merged[last], level[last].astype(np.int64))


def share_of(suffering: Steps, starts: Floats, ends: Floats) -> Floats:
    """Return for each interval its part of the suffering: ∫ suffering ÷ (intervals running), over the interval.

    While an interval runs it carries an equal share with the others that run; suffering while none runs is nobody's.
    NaN starts get 0; NaN ends run to the last instant of `suffering`. Exact: one cumulative integral, read at
    both ends.
    """
    if not len(suffering.at) or not len(starts):
        return np.zeros(len(starts))
    horizon = float(suffering.at[-1])
    until = np.where(np.isnan(ends), horizon, ends)
    running = count(starts, until)
    at = np.union1d(suffering.at, running.at)
    carriers = running.at_instants(at)
    rate = np.where(carriers > 0, suffering.at_instants(at) / np.maximum(carriers, 1), 0.0)
    area = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(at))])
    began = np.nan_to_num(starts, nan=at[0])
    found = np.interp(until, at, area) - np.interp(began, at, area)
    return np.where(np.isnan(starts), 0.0, found)
