"""Subject: what was watched, as a TargetInfo, from what the processes said about their pools.

In: a recorded run. Out: the facts of the pool that was asked most often. Reads the raw records once, in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from poolctl.trace.eventfile import read_records
from poolctl.trace.events import RECORD_BYTES, Kind
from poolctl.trace.names import read_names
from poolctl.trace.run import Run

_RECORD = np.dtype({"names": ["kind", "pool"], "formats": ["u1", "<u2"], "offsets": [24, 26], "itemsize": RECORD_BYTES})


def subject(run: Run) -> dict[str, Any]:
    """Return dialect, driver, pool_class and settings of the busiest pool; empty when there was none."""
    busiest: tuple[int, dict[str, Any]] = (-1, {})
    for events in run.event_files():
        records = np.frombuffer(read_records(events), _RECORD)
        asked = np.bincount(records["pool"][records["kind"] == int(Kind.REQUEST)], minlength=1)
        for number, entry in read_names(run.names_file(events))["pool"].items():
            count = int(asked[number]) if number < len(asked) else 0
            busiest = max(busiest, (count, entry), key=lambda pair: pair[0])
    pool = busiest[1]
    if not pool:
        return {}
    return {
        "dialect": pool.get("dialect") or "?",
        "driver": pool.get("driver") or "?",
        "pool_class": pool.get("class") or "?",
        "settings": pool.get("settings") or {},
    }
