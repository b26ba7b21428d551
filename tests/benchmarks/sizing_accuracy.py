"""Predicted against measured waits on a real PostgreSQL: one run at a roomy size predicts six others.

    python tests/benchmarks/sizing_accuracy.py [--runs DIRECTORY] [--seconds 15] [--only App,Lock]

For each workload (application-bound, CPU-bound, row lock, mixed; Poisson and bursty) the p95 wait at each size as
mean |ln((predicted + 5 ms) / (measured + 5 ms))| over the sizes that can tell models apart (p95 ≥ 5 ms measured or
predicted, not both at the timeout): the model that poolctl chooses, constant replay, Erlang C at the mean rate, and
how well a repeat of the same runs agrees with itself. Then the smallest size that meets the objective, predicted and
measured. Runs that are already in the directory are not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path

import numpy as np

from poolctl.analysis.demand import read_demand
from poolctl.analysis.engines import choose, constant
from poolctl.analysis.goals import waiting_goals
from poolctl.analysis.leases import Tables, tables
from poolctl.analysis.pool_model import Rules
from poolctl.analysis.search import Search
from poolctl.analysis.theory import mmc_wait_quantile
from poolctl.load.find import find
from poolctl.load.plan import LoadPlan
from poolctl.load.session import rehearse
from poolctl.target.spec import TargetSpec
from poolctl.trace.run import Run

HERE = Path(__file__).parent
TIMEOUT_S = 0.5
ROOMY = 25
CORES = 2.0
SIZES = {"App": (4, 5, 6, 7, 8, 10), "Cpu": (1, 2, 3, 4, 6, 8), "Lock": (2, 3, 4, 5, 6, 8), "Mix": (3, 4, 5, 6, 7, 9)}


class Bench:
    """The runs of one directory; what is missing is made."""

    def __init__(self, directory: Path, seconds: float, cores: float) -> None:
        self.directory, self.seconds, self.cores = directory, seconds, cores
        self.index = directory / "index.json"
        self.known: dict[str, str] = json.loads(self.index.read_text()) if self.index.exists() else {}

    def run(self, name: str, size: int, repeat: int = 0) -> Tables:
        """Return the tables of the workload at this size."""
        key = f"{name} {size} {repeat} {self.seconds:g}"
        if key not in self.known:
            plan = LoadPlan(
                found=find(f"{HERE / 'sizing_workloads.py'}:{name}"),
                target=TargetSpec(pool_size=size, max_overflow=0, pool_timeout_s=TIMEOUT_S),
                seed=7,
                duration_s=self.seconds,
                runs_dir=self.directory,
            )
            self.known[key] = str(rehearse(plan).path)
            self.index.write_text(json.dumps(self.known, indent=1))
        return tables(Run(Path(self.known[key])))


def error(predicted: float, measured: float) -> float:
    """Return |ln((predicted + 5 ms) / (measured + 5 ms))|."""
    return abs(math.log((predicted + 0.005) / (measured + 0.005)))


def tells(predicted: float, measured: float) -> bool:
    """Whether a size can tell models apart."""
    return max(predicted, measured) >= 0.005 and min(predicted, measured) < 0.98 * TIMEOUT_S


def p95(waits: np.ndarray) -> float:
    return float(np.quantile(waits, 0.95, method="inverted_cdf"))


def meets(made: Tables) -> bool:
    """Whether a run met the objective, as measured."""
    lost = float((made.leases["end"] == "timed_out").mean())
    return p95(made.leases["wait_time_s"].to_numpy()) < 0.05 and lost < 0.001


def workload(bench: Bench, name: str, sizes: tuple[int, ...]) -> dict[str, list[float]]:
    """Print one workload's sizes and return the errors of each model."""
    roomy = bench.run(name, ROOMY)
    recorded = read_demand(roomy.leases, roomy.operations)
    assert recorded is not None
    rules = Rules(ROOMY, 0, TIMEOUT_S)
    engine, structure, _ = choose(recorded, roomy.statements, rules, bench.cores)
    hold = float(np.mean(recorded.demands[0].marks.hold_s))
    offered = recorded.requests / recorded.duration_s * hold
    errors: dict[str, list[float]] = {"model": [], "constant": [], "Erlang C": [], "repeat": []}
    which = "constant" if engine is constant else "database"
    slowed = structure.slowed if structure else 1.0
    print(f"\n{name}: {recorded.requests} requests, {which} model, SQL slowed {slowed:.2f} x in the roomy run")
    print("  size  measured p95  repeat  model  constant  Erlang C   timeouts measured/model")
    measured_least = None
    for size in sizes:
        made, again = bench.run(name, size), bench.run(name, size, 1)
        measured = p95(made.leases["wait_time_s"].to_numpy())
        repeat = p95(again.leases["wait_time_s"].to_numpy())
        outcome = engine(recorded.demands, Rules(size, 0, TIMEOUT_S))[0]
        predicted = {
            "model": p95(outcome.wait_s),
            "constant": p95(constant(recorded.demands, Rules(size, 0, TIMEOUT_S))[0].wait_s),
            "Erlang C": min(mmc_wait_quantile(size, offered, hold, 0.95), TIMEOUT_S),
            "repeat": repeat,
        }
        if tells(predicted["model"], measured):
            for each, value in predicted.items():
                errors[each].append(error(value, measured))
        if meets(made) and measured_least is None:
            measured_least = size
        lost = float((made.leases["end"] == "timed_out").mean())
        cells = "  ".join(f"{predicted[each] * 1e3:7.1f}" for each in ("repeat", "model", "constant", "Erlang C"))
        print(f"  {size:4}  {measured * 1e3:12.1f}  {cells}   {lost:.3f}/{outcome.timeout_rate:.3f}", flush=True)
    least = Search(engine, waiting_goals([]), rules).smallest(recorded.demands)
    print(f"  smallest size: measured {measured_least}, predicted {least}")
    return errors


def main() -> None:
    """Make what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, help="keep the runs here")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--cores", type=float, default=CORES, help="cores of the database's machine")
    parser.add_argument("--only", default=",".join(SIZES))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = chosen.runs or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        bench = Bench(directory, chosen.seconds, chosen.cores)
        summary: dict[str, dict[str, list[float]]] = {}
        for kind in chosen.only.split(","):
            for pattern in ("Poisson", "Bursty"):
                for each, found in workload(bench, kind + pattern, SIZES[kind]).items():
                    summary.setdefault(kind, {}).setdefault(each, []).extend(found)
        print("\nmean |ln((predicted + 5 ms) / (measured + 5 ms))| of the p95 wait")
        for kind, errors in summary.items():
            row = ", ".join(f"{each} {np.mean(found):.3f}" if found else f"{each} -" for each, found in errors.items())
            print(f"  {kind:5} n={len(errors['model']):2}: {row}")


if __name__ == "__main__":
    main()
