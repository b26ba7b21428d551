"""Thinning: a long run cut down to windows spread over it, so that sizing answers in seconds.

In: the tables of a run. Out: the same tables with fewer rows, as if the run had consisted of the windows only. Whole
stretches are kept, never every n-th lease: bursts, and what is busy side by side, stay as they were.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from poolctl.analysis.pool_rules import Floats, Ints

WINDOWS = 10
INSTANTS = ("intended_at_s", "requested_at_s", "acquired_at_s", "started_at_s", "ended_at_s")


def thin(
    leases: pd.DataFrame, operations: pd.DataFrame, statements: pd.DataFrame, most: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return leases, operations and statements of windows that hold about `most` leases in all, closed up in time.

    A lease belongs to the window of its request, a statement to its lease, an operation to its intended start.
    """
    at = leases["requested_at_s"].to_numpy(dtype=np.float64)
    first, last = float(np.nanmin(at)), float(np.nanmax(at))
    length = (last - first) * most / len(leases) / WINDOWS
    part = (last - first) / WINDOWS
    # One in each tenth, at random: evenly spaced windows could keep step with a periodic load.
    starts = first + np.arange(WINDOWS) * part + np.random.default_rng(5).uniform(0, max(part - length, 0), WINDOWS)
    window = _window(at, starts, length)
    shift = first + np.arange(WINDOWS) * length - starts
    kept = _moved(leases, window, shift)
    owners = leases.loc[window >= 0, ["process", "lease"]]
    rows = np.full(len(statements), -1, dtype=np.int64)
    for process, numbers in owners.groupby("process", observed=True)["lease"]:
        numbered = numbers.to_numpy(dtype=np.int64)
        order = np.argsort(numbered)
        mine = np.flatnonzero(statements["process"].to_numpy() == process)
        wanted = statements["lease"].to_numpy(dtype=np.int64)[mine]
        place = np.minimum(np.searchsorted(numbered[order], wanted), len(numbered) - 1)
        found = numbered[order][place] == wanted
        owner = window[numbers.index.to_numpy()[order][place[found]]]
        rows[mine[found]] = owner
    if not operations.empty and "intended_at_s" in operations:
        due = operations["intended_at_s"].to_numpy(dtype=np.float64)
        operations = _moved(operations, _window(due, starts, length), shift)
    return kept, operations, _moved(statements, rows, shift) if len(statements) else statements


def _window(at: Floats, starts: Floats, length: float) -> Ints:
    """Return the window of each instant, or -1."""
    number = np.searchsorted(starts, at, side="right") - 1
    inside = (number >= 0) & (at < starts[np.maximum(number, 0)] + length)
    return np.where(inside, number, -1)


def _moved(table: pd.DataFrame, window: Ints, shift: Floats) -> pd.DataFrame:
    """Keep the rows that have a window and move their instants to where the window goes."""
    inside = window >= 0
    kept = table[inside].copy()
    by = shift[window[inside]]
    for name in INSTANTS:
        if name in kept:
            kept[name] = kept[name].to_numpy(dtype=np.float64) + by
    return kept.reset_index(drop=True)
