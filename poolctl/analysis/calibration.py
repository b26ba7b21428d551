"""Calibration as a run carries it: what connections cost, seen by probes before the load.

In: run.json. Out: costs that stand in where the run itself opened too few connections to tell. Knows nothing of sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from poolctl.analysis.demand import Recorded
from poolctl.analysis.pool_rules import Floats

ENOUGH = 30
"""Connections that a run must have opened before its own are enough (notes on sizing)."""


@dataclass(frozen=True)
class Calibration:
    """Seconds."""

    connect_s: Floats
    cold_s: float
    """What the first statement on a new connection costs more than the next."""
    close_s: float
    cores: float | None
    """Of the server, where the probes were asked for them and saw them."""


def read_calibration(meta: Mapping[str, Any]) -> Calibration | None:
    """Return the run's calibration; None where it has none."""
    said = meta.get("calibration")
    if not isinstance(said, Mapping) or not said.get("connect_s"):
        return None
    cores = said.get("cores")
    return Calibration(
        np.array(said["connect_s"], dtype=np.float64),
        float(said.get("cold_s") or 0.0),
        float(said.get("close_s") or 0.0),
        float(cores) if cores else None,
    )


def with_probes(recorded: Recorded, probes: Calibration | None) -> Recorded:
    """Return the run with the costs of the probes beside its own, or instead of guesses."""
    if probes is None or not recorded.demands:
        return recorded
    marks = recorded.demands[0].marks
    own = marks.connect_s if marks.connects_seen else np.empty(0)
    probed = probes.connect_s if len(own) < ENOUGH else np.empty(0)
    changed = replace(marks, connect_s=np.concatenate([own, probed]), close_s=probes.close_s)
    demands = [replace(demand, marks=changed) for demand in recorded.demands]
    return replace(recorded, demands=demands, cold_s=probes.cold_s, probed_connect_s=probed)
