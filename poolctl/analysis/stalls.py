"""Stalls: when a process itself was what the requests waited for.

In: a View: the delays of its event loops, the looks at its processes. Out: shares. A loop that stood still leaves a
pile behind: what waits while that is worked off waits for the loop, too. An interpreter that was wanted all the time,
by threads or by a loop, has one thread run at a time (the GIL): it makes statements and holds longer, and pools full.
"""

from __future__ import annotations

import numpy as np

from poolctl.analysis import sweep
from poolctl.analysis.sweep import Floats, Steps
from poolctl.analysis.view import View

LATE_S = 0.1
"""Shorter delays of a loop are everyday life."""
BUSY = 0.9
"""Of the time wanted by its threads, from which on an interpreter has no moment to spare."""


def stops(view: View) -> tuple[Floats, Floats]:
    """Return beginnings and ends of the times in which an event loop stood still."""
    lags = view.tables.lags
    lags = lags[lags["lag_s"] >= LATE_S]
    ends = lags["at_s"].to_numpy(dtype=np.float64)
    return ends - lags["lag_s"].to_numpy(dtype=np.float64), ends


def share_of_time(view: View) -> float:
    """Return the share of the time in which a loop stood still."""
    return _covered(*stops(view), view.length_s) / view.length_s


def share_of_waiting(view: View) -> float:
    """Return the share of the waiting while a loop stood still, and for as long again."""
    began, ended = stops(view)
    return _of_waiting(view, began, ended + (ended - began))


def busy_share(view: View) -> float | None:
    """Return the share of the waiting (without any: of the time) with a saturated interpreter; None: nobody looked."""
    samples = view.process_samples
    if not samples:
        return None
    began, ended = (np.array([view.second_of(int(each[key])) for each in samples]) for key in ("from_ns", "to_ns"))
    wanted = np.array([float(each["wanted"]) for each in samples])
    busy = wanted >= BUSY
    looked = _of_waiting(view, began, ended)
    if not view.waiting.peak or looked <= 0:
        return _covered(began[busy], ended[busy], view.length_s) / view.length_s
    return _of_waiting(view, began[busy], ended[busy]) / looked


def _union(began: Floats, ended: Floats) -> Steps:
    some = sweep.count(began, ended)
    return Steps(some.at, np.minimum(some.level, 1))


def _covered(began: Floats, ended: Floats, length_s: float) -> float:
    return float(_union(began, ended).integral_to(np.array([0.0, length_s])) @ [-1, 1]) if len(began) else 0.0


def _of_waiting(view: View, began: Floats, ended: Floats) -> float:
    waiting = view.waiting
    if not len(began) or not waiting.peak:
        return 0.0
    during = _union(began, ended)
    at = np.unique(np.concatenate([waiting.at, during.at, [view.length_s]]))
    amount = waiting.at_instants(at[:-1]) * np.diff(at)
    whole = float(amount.sum())
    return float((amount * during.at_instants(at[:-1])).sum()) / whole if whole > 0 else 0.0
