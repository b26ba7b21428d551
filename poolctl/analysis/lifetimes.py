"""Lifetimes: how many connections a pool had open, over time.

In: the tables of a run. Out: step functions, or None where the run does not tell. A connection that is used but was not
seen being opened was there before the run.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from poolctl.analysis import sweep
from poolctl.analysis.leases import Tables
from poolctl.analysis.sweep import Steps


def opened(tables: Tables, process: int, pools: Collection[int], *, seen: bool) -> Steps | None:
    """Return the connections that these pools of a process have open; None where the run does not tell.

    `seen`: only where capture saw at least one of them being opened.
    """
    rows = _of(tables.connections, process, pools)
    events = rows["event"].astype(str).to_numpy()
    began = dict(zip(rows["connection"][events == "opened"], rows["at_s"][events == "opened"], strict=True))
    gone = dict(zip(rows["connection"][events == "closed"], rows["at_s"][events == "closed"], strict=True))
    leases = _of(tables.leases, process, pools)
    if seen and not began:
        return None
    held = sweep.count(*(leases[name].to_numpy(dtype=np.float64) for name in ("acquired_at_s", "ended_at_s")))
    first = leases[leases["connection"] > 0].sort_values("acquired_at_s", kind="stable").drop_duplicates("connection")
    since = np.where(first["fresh"].to_numpy(dtype=np.bool_), first["acquired_at_s"].to_numpy(dtype=np.float64), 0.0)
    before = dict(zip(first["connection"], since, strict=True))
    left = leases[leases["end"].isin(["detached"])]
    for connection, at in zip(left["connection"], left["ended_at_s"], strict=True):
        gone[connection] = min(at, gone.get(connection, at))
    born = before | began
    ends = np.array([gone.get(connection, np.nan) for connection in born], np.float64)
    found = sweep.count(np.array(list(born.values()), np.float64), ends)
    # A source that numbers no connections, or lost some of them: more were held than it knows of.
    return found if found.peak >= held.peak or began else None


def _of(frame: pd.DataFrame, process: int, pools: Collection[int]) -> pd.DataFrame:
    return frame[(frame["process"] == process) & frame["pool"].isin(pools)]
