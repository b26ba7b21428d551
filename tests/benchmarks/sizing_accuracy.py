"""Predicted against measured waits on a real PostgreSQL: one run at a roomy size predicts six others.

    python tests/benchmarks/sizing_accuracy.py --record DIR            # makes the runs (resumable) and judges
    python tests/benchmarks/sizing_accuracy.py --record DIR --quick    # 12 s instead of 15 s, half of the repeats
    python tests/benchmarks/sizing_accuracy.py --from DIR              # judges recorded runs again, no load

For each workload (application-bound, CPU-bound, row lock, mixed; Poisson and bursty) a run at 25 connections predicts
the p95 wait at the six sizes around the smallest that meets `p95 wait < 50ms`, timeouts < 0.1 %, all on one tape.
Printed: every size; then one table with the mean |ln((predicted + 5 ms) / (measured + 5 ms))| over the sizes that can
tell models apart (p95 ≥ 5 ms measured or predicted, not both at the timeout) for the model that poolctl chooses,
constant replay, Erlang C at the mean rate, and a repeat of the same runs; then the recommendations against the
smallest size that met the objective when it was run, with what the recommendation's own stress test (SQL 10 and 20 %
slower) said of it; then the recommendation with headroom on fresh seeds of the bursty workloads.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sizing_runs import TIMEOUT_S, Bench

from poolctl.analysis.case import Case, prepare
from poolctl.analysis.engines import Structural, constant
from poolctl.analysis.leases import Tables
from poolctl.analysis.limits import stressed
from poolctl.analysis.pool_model import Rules
from poolctl.analysis.search import Search
from poolctl.analysis.sizing import recommend, smallest_safe
from poolctl.analysis.theory import erlang_c_size, mmc_wait_quantile
from poolctl.trace.report import PoolSettings, ServerInfo

KINDS, PATTERNS = ("App", "Cpu", "Lock", "Mix"), ("Poisson", "Bursty")
ROOMY, CORES = 25, 2
SIZES, BELOW = 6, 3
LIMIT_S, LOST = 0.05, 0.001
TARGETS = {"App": 0.06, "Cpu": 0.5, "Lock": 0.15, "Mix": 0.12}
OBJECTIVES = ("p95 wait < 50ms", "rate timeouts < 0.1%")
FRESH = 100
"""Seeds of fresh runs begin here."""
LONG_S = 45.0
"""Length of the fresh runs, and of the one that they are held against."""


@dataclass
class Row:
    """One size of one workload; seconds."""

    size: int
    measured: float
    repeat: float | None
    predicted: dict[str, float]
    met: bool
    repeat_met: bool | None


@dataclass
class Judged:
    """One workload."""

    name: str
    rows: list[Row] = field(default_factory=list)
    recommended: int | None = None
    flagged: bool = False
    others: dict[str, int | None] = field(default_factory=dict)
    fresh: list[bool] = field(default_factory=list)

    def errors(self, model: str) -> list[float]:
        """Errors of a model (or of `repeat`) at the sizes that can tell models apart."""
        found = []
        for row in self.rows:
            if max(row.predicted["model"], row.measured) < 0.005 or min(row.predicted["model"], row.measured) > 0.49:
                continue
            value = row.repeat if model == "repeat" else row.predicted[model]
            if value is not None:
                found.append(error(value, row.measured))
        return found

    def smallest(self, *, repeat: bool = False) -> int | None:
        """The smallest size that met the objective when it was run."""
        return next((row.size for row in self.rows if (row.repeat_met if repeat else row.met)), None)


def error(predicted: float, measured: float) -> float:
    """Return |ln((predicted + 5 ms) / (measured + 5 ms))|."""
    return abs(math.log((predicted + 0.005) / (measured + 0.005)))


def p95(waits: np.ndarray) -> float:
    return float(np.quantile(waits, 0.95, method="inverted_cdf"))


def measured(made: Tables) -> tuple[float, bool]:
    """Return the p95 wait of a run, and whether it met the objective."""
    wait = p95(made.leases["wait_time_s"].to_numpy())
    return wait, wait < LIMIT_S and float((made.leases["end"] == "timed_out").mean()) < LOST


def case_of(roomy: Tables, cores: int) -> Case:
    """Return what sizing makes of the roomy run, as poolctl would."""
    settings = PoolSettings(ROOMY, 0, TIMEOUT_S, -1.0, False, False)
    made = prepare(roomy, settings, OBJECTIVES, ServerInfo("18", 100, 3, 0, cores), 7, most_requests=None)
    assert isinstance(made, Case), made
    return made


def around(predicted: int | None) -> list[int]:
    """Return the six sizes to run: three below the predicted one, it, and two above."""
    first = max(1, (predicted or ROOMY // 2) - BELOW)
    return list(range(first, first + SIZES))


def judge(bench: Bench, name: str, cores: int, repeats: int, fresh: int) -> Judged:
    """Make what is missing of a workload, and print its sizes."""
    roomy = bench.run(name, ROOMY)
    if roomy is None:
        raise SystemExit(f"there is no run of {name} at {ROOMY} in {bench.directory}")
    case = case_of(roomy, cores)
    search, demands = case.search, case.demands
    result = Judged(name, recommended=smallest_safe(search, demands))
    known = [size for size in bench.sizes(name) if size != ROOMY and bench.has(name, size)]
    sizes = known if bench.replay_only else known or around(search.smallest(demands))
    if known and len(known) < SIZES and not bench.replay_only:  # cut off: the ladder is the one that was begun
        sizes = list(range(min(known), min(known) + SIZES))
    hold = float(np.mean(demands[0].marks.hold_s))
    offered = case.recorded.requests / case.recorded.duration_s * hold
    print(f"\n{name}: {described(case)}")
    print("  size  measured p95   repeat    model  constant  Erlang C   objective measured / predicted")
    first = {size: bench.run(name, size) for size in sizes}
    again = {size: bench.run(name, size, 1) for size in middle(sizes, result.recommended, repeats)[::-1]}
    for size in sizes:
        outcome = search.at(demands, size)
        wait, met = measured(first[size])  # type: ignore[arg-type]
        repeated = measured(again[size]) if again.get(size) is not None else (None, None)  # type: ignore[arg-type]
        predicted = {
            "model": p95(outcome[0].wait_s),
            "constant": p95(constant(demands, Rules(size, 0, TIMEOUT_S))[0].wait_s),
            "Erlang C": min(mmc_wait_quantile(size, offered, hold, 0.95), TIMEOUT_S),
        }
        result.rows.append(Row(size, wait, repeated[0], predicted, met, repeated[1]))
        cells = "  ".join(f"{cell(value):>7}" for value in (repeated[0], *predicted.values()))
        words = f"{'met' if met else 'missed'} / {'met' if search.meets(demands, size) else 'missed'}"
        print(f"  {size:4}  {cell(wait):>12}  {cells}   {words}", flush=True)
    result.flagged = flagged(search, case, result.recommended)
    result.others = {
        "constant": Search(constant, search.goals, search.rules).smallest(demands),
        "Erlang C": erlang_c_size(offered, hold, 0.95, LIMIT_S),
    }
    if name.endswith("Bursty"):
        result.fresh = on_fresh_seeds(bench, name, cores, fresh)
    return result


def middle(sizes: Sequence[int], recommended: int | None, count: int) -> list[int]:
    """Return the sizes that are repeated: those nearest to the recommended one."""
    nearest = sorted(sizes, key=lambda size: (abs(size - (recommended or sizes[0]) + 0.5), size))
    return sorted(nearest[:count])


def flagged(search: Search, case: Case, recommended: int | None) -> bool:
    """Whether the recommendation's own stress test says that it is fragile: SQL 10 or 20 % slower would need more."""
    if recommended is None or not isinstance(search.engine, Structural):
        return recommended is None
    needed = [stressed(search, search.engine, case.demands, recommended, slower) for slower in (1.1, 1.2)]
    return any(size is None or size > recommended for size in needed)


def on_fresh_seeds(bench: Bench, name: str, cores: int, count: int) -> list[bool]:
    """Run the whole recommendation, headroom included, on other arrivals of the same process.

    It is made from a run as long as poolctl asks for where traffic comes in bursts (25 times their correlation).
    """
    roomy = bench.run(name, ROOMY, seconds=LONG_S)
    if roomy is None:
        return []
    settings = PoolSettings(ROOMY, 0, TIMEOUT_S, -1.0, False, False)
    made = recommend(roomy, settings, OBJECTIVES, server=ServerInfo("18", 100, 3, 0, cores), seed=7)
    if made.recommended is None or made.recommended.pool_size is None:
        print(f"  no recommendation with headroom: {made.reason}")
        return []
    size = made.recommended.pool_size
    runs = [bench.run(name, size, seed=FRESH + number, seconds=LONG_S) for number in range(count)]
    found = [measured(run) for run in runs if run is not None]
    waits = ", ".join(cell(wait) for wait, _ in found)
    print(f"  {made.reason} (confidence {made.confidence})")
    print(f"  at {size}: fresh seeds met the objective {sum(met for _, met in found)} of {len(found)} (p95 {waits} ms)")
    return [met for _, met in found]


def described(case: Case) -> str:
    structure = case.structure
    model = "database" if isinstance(case.search.engine, Structural) else "constant"
    said = f"{case.recorded.requests} requests, {model} model"
    if structure is None:
        return said
    cores = structure.database.cores
    use = f", others used {case.use.others:.2f} cores" if case.use else ""
    slowed = f"SQL slowed {structure.slowed:.2f} x in the roomy run"
    return f"{said}, {cores:.2f} cores ({structure.cores_known}){use}, {slowed}"


def cell(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.1f}"


def summarise(found: list[Judged]) -> None:
    """Print the table of errors and the recommendations."""
    print("\nmean |ln((predicted + 5 ms) / (measured + 5 ms))| of the p95 wait")
    print("  workload   n   model  at most  constant  Erlang C  repeat (n)")
    for kind in KINDS:
        mine = [one for one in found if one.name.startswith(kind)]
        if not mine:
            continue
        mean = {}
        for model in ("model", "constant", "Erlang C", "repeat"):
            errors = [value for one in mine for value in one.errors(model)]
            mean[model] = (f"{np.mean(errors):.3f}" if errors else "-", len(errors))
        print(
            f"  {kind:8} {mean['model'][1]:3}  {mean['model'][0]:>6}  {TARGETS[kind]:7.2f}  {mean['constant'][0]:>8}  "
            f"{mean['Erlang C'][0]:>8}  {mean['repeat'][0]:>6} ({mean['repeat'][1]})"
        )
    print("\nsmallest size that meets the objective on the recorded arrivals")
    print("  workload     measured  repeat  recommended  constant  Erlang C   verdict")
    verdicts = []
    for one in found:
        truth, again = one.smallest(), one.smallest(repeat=True)
        verdict = compare(one, truth)
        verdicts.append(verdict)
        numbers = (truth, again, one.recommended, *one.others.values())
        texts = ["none" if number is None else str(number) for number in numbers]
        print(f"  {one.name:12} {texts[0]:>8}  {texts[1]:>6}  {texts[2]:>11}  {texts[3]:>8}  {texts[4]:>8}   {verdict}")
    good = sum(verdict.startswith(("exact", "one over")) for verdict in verdicts)
    print(f"  exact or one over: {good} of {len(verdicts)} (at least nine of ten are asked for)")
    fresh = [met for one in found for met in one.fresh]
    if fresh:
        print(
            f"  with headroom, on fresh seeds of the bursty workloads: {sum(fresh)} of {len(fresh)} met the objective"
        )


def compare(one: Judged, truth: int | None) -> str:
    """Say how the recommendation relates to the measured truth, and whether its own stress test warned."""
    warned = "flagged by its stress test" if one.flagged else "not flagged"
    if truth is None or one.recommended is None:
        same = truth is None and (one.recommended is None or one.recommended > max(row.size for row in one.rows))
        return "exact: none of the sizes run" if same else f"wrong, {warned}"
    off = one.recommended - truth
    if off == 0:
        return "exact"
    if off == 1:
        return "one over"
    return f"{abs(off)} {'over' if off > 0 else 'under'}, {warned}"


def main() -> None:
    """Make what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--record", type=Path, metavar="DIR", help="make the runs that are missing here")
    place.add_argument("--from", type=Path, metavar="DIR", dest="source", help="judge the runs that are here")
    parser.add_argument("--quick", action="store_true", help="12 s a run, three sizes repeated, three fresh seeds")
    parser.add_argument("--seconds", type=float, help="length of a run; else 15, quick: 12")
    parser.add_argument("--cores", type=int, default=CORES, help="cores of the machine")
    parser.add_argument("--only", default=",".join(KINDS), help="as App,LockBursty")
    chosen = parser.parse_args()
    seconds = chosen.seconds or (12.0 if chosen.quick else 15.0)
    repeats, fresh = (3, 3) if chosen.quick else (SIZES, 5)
    names = [f"{kind}{pattern}" for kind in KINDS for pattern in PATTERNS]
    wanted = [name for name in names if any(name.startswith(part) for part in chosen.only.split(","))]
    with Bench(chosen.record or chosen.source, seconds, replay_only=chosen.source is not None) as bench:
        summarise([judge(bench, name, chosen.cores, repeats if chosen.record else SIZES, fresh) for name in wanted])


if __name__ == "__main__":
    main()
