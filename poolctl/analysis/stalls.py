"""Stalls: when a process itself was what the requests waited for.

In: a View: the delays of its event loops, the looks at its processes and at the machine. Out: shares. A loop that stood
still leaves a pile behind: what waits while that is worked off waits for the loop, too. An interpreter that was wanted
all the time, by threads or by a loop, has one thread run at a time (the GIL): it makes statements and holds longer, and
pools full. A loop that was ready to run and got no processor was not blocked by what it ran.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from poolctl.analysis import sweep
from poolctl.analysis.sweep import Floats, Steps
from poolctl.analysis.view import View

LATE_S = 0.1
"""Shorter delays of a loop are everyday life."""
BUSY = 0.9
"""Of the time wanted by its threads, from which on an interpreter has no moment to spare."""


def stops(view: View) -> pd.DataFrame:
    """Return the times in which a loop stood still by itself: process, at_s (the end), lag_s (without the denied)."""
    lags = view.tables.lags
    own = lags.assign(lag_s=lags["lag_s"] - _denied_s(view))
    return own[own["lag_s"] >= LATE_S]


def share_of_time(view: View) -> float:
    """Return the share of the time in which a loop stood still."""
    return _covered(*_spans(stops(view)), view.length_s) / view.length_s


def share_of_waiting(view: View) -> float:
    """Return the share of the waiting while a loop stood still, and for as long again."""
    began, ended = _spans(stops(view))
    return _of_waiting(view, began, ended + (ended - began))


def denied_time(view: View) -> float:
    """Return the share of the time in which a loop was ready to run and the machine did not let it."""
    return _covered(*_denials(view), view.length_s) / view.length_s


def denied_share(view: View) -> float:
    """Return the share of the waiting meanwhile, and no longer: a crowded machine makes other causes worse, too."""
    return _of_waiting(view, *_denials(view))


def _denied_s(view: View) -> Floats:
    """For each delay of a loop, for how long its thread was ready to run and had no processor, in seconds.

    The kernel counts that, but for what the hypervisor takes: then the machine stands still for everybody, poolctl
    included.
    """
    lags = view.tables.lags
    late, queued, end = (lags[name].to_numpy(np.float64) for name in ("lag_s", "queued_s", "at_s"))
    lost = np.zeros(len(late))
    for sample in view.machine_samples:
        began, ended = (view.second_of(int(sample[key])) for key in ("from_ns", "to_ns"))
        overlap = np.clip(np.minimum(end, ended) - np.maximum(end - late, began), 0.0, None)
        lost += np.minimum(overlap, float(sample["lost_s"]))
    denied: Floats = np.minimum(late, np.maximum(queued, lost))
    return denied


def _denials(view: View) -> tuple[Floats, Floats]:
    lags = view.tables.lags
    without = lags.assign(lag_s=_denied_s(view))
    return _spans(without[without["lag_s"] >= LATE_S])


def _spans(lags: pd.DataFrame) -> tuple[Floats, Floats]:
    ends = lags["at_s"].to_numpy(np.float64)
    return ends - lags["lag_s"].to_numpy(np.float64), ends


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
