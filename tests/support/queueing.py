"""A measured M/M/5: a real load run on a real pool, held against a replay of its own trace and against Erlang C."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from command import poolctl

from poolctl.analysis.leases import tables
from poolctl.analysis.pool_model import Rules, Work, replay
from poolctl.analysis.theory import mmc_mean_wait, mmc_wait_quantile
from poolctl.trace.run import Run

SERVERS = 5
SCENARIO = Path(__file__).parent / "scenarios" / "queue.py"


@dataclass(frozen=True)
class Queue:
    """Waits in seconds: measured, replayed, and by Erlang C with the measured rate and service time."""

    requests: int
    utilisation: float
    mean: float
    p95: float
    replayed_mean: float
    replayed_p95: float
    theory_mean: float
    theory_p95: float
    undisturbed: bool
    """The generator was on time (the run's own check): nobody else had the processor."""

    def errors(self) -> dict[str, float]:
        """Measured ÷ expected − 1."""
        return {
            "replay mean": self.mean / self.replayed_mean - 1,
            "replay p95": self.p95 / self.replayed_p95 - 1,
            "theory mean": self.mean / self.theory_mean - 1,
            "theory p95": self.p95 / self.theory_p95 - 1,
        }


def measure(rate: float, seconds: float, seed: int, directory: Path) -> Queue:
    """Run the queue for `seconds` on the embedded PostgreSQL and compare."""
    done = poolctl(
        *("loadtest", SCENARIO, "--rate", f"{rate}/s", "--duration", f"{seconds}s", "--seed", str(seed)),
        *("--pool-size", str(SERVERS), "--max-overflow", "0", "--format", "json", "--inconclusive", "pass"),
        cwd=directory,
        timeout=seconds + 90,
    )
    if done.code != 0:
        sys.exit(done.err)
    leases = tables(Run.open("last", directory / ".poolctl/runs")).leases
    leases = leases[leases["end"] == "returned"].sort_values("requested_at_s")
    requested = leases["requested_at_s"].to_numpy()
    wait = leases["wait_time_s"].to_numpy()
    # What a request occupies a slot for: its hold, and for one that waited the hand-off (the loop's wake-up between the
    # slot's return and the next holder's checkout), which a model with instant hand-off would not have.
    hold = (leases["ended_at_s"] - leases["acquired_at_s"]).to_numpy() + _hand_off(leases)
    connect = np.nan_to_num(leases["connect_time_s"].to_numpy())
    replayed = replay(Work(requested, hold, connect), Rules(SERVERS, 0, 30.0)).wait_s
    offered = (len(requested) - 1) / (requested[-1] - requested[0]) * float(np.mean(hold))
    return Queue(
        requests=len(leases),
        utilisation=offered / SERVERS,
        mean=float(np.mean(wait)),
        p95=float(np.quantile(wait, 0.95)),
        replayed_mean=float(np.mean(replayed)),
        replayed_p95=float(np.quantile(replayed, 0.95)),
        theory_mean=mmc_mean_wait(SERVERS, offered, float(np.mean(hold))),
        theory_p95=mmc_wait_quantile(SERVERS, offered, float(np.mean(hold)), 0.95),
        undisturbed=all(check["ok"] for check in json.loads(done.out)["validity"]),
    )


def _hand_off(leases) -> np.ndarray:
    """Seconds from a connection's return to its checkout by a lease that waited for it; 0 for the other leases."""
    hand_off = np.zeros(len(leases))
    position = {index: place for place, index in enumerate(leases.index)}
    for _, of_one in leases.sort_values("acquired_at_s").groupby("connection"):
        returned, waited = of_one["ended_at_s"].to_numpy(), of_one["wait_time_s"].to_numpy()[1:] > 0.0005
        gaps = np.where(waited, of_one["acquired_at_s"].to_numpy()[1:] - returned[:-1], 0.0)
        for index, gap in zip(of_one.index[1:], gaps, strict=True):
            hand_off[position[index]] = gap
    return hand_off
