"""The gate on a real PostgreSQL: identical sides, and planted regressions. Wants a quiet machine.

    python tests/benchmarks/gate_real.py identical --utilisation 0.6 0.75 0.9 --pairs 24 --duration 6s
    python tests/benchmarks/gate_real.py planted --times 10

`identical` records pairs of runs on the same tapes and makes comparisons of six pairs of them, each with its sides
swapped by a coin: all are comparisons of identical code. `planted` runs `poolctl compare --ab` on two directories whose
scenario differs in one thing, and prints verdicts and how long each took.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from poolctl.analysis.compare import Declared, compare
from poolctl.analysis.evidence import Evidence, evidence
from poolctl.load.find import find
from poolctl.load.plan import LoadPlan
from poolctl.load.session import rehearse
from poolctl.target.embedded import EmbeddedPostgres
from poolctl.target.spec import TargetSpec
from poolctl.units import parse_duration

SIZE, SERVICE_MS = 9, 30
SCENARIO = '''"""A pool of known utilisation."""
from sqlalchemy import text
from poolctl.load import Scenario, integers, lognormal, poisson, think, transaction

KEPT = []

@transaction(service=lognormal("{median}ms", 0.8), dice=integers(0, 399))
def work(connection, service, dice):
    for _ in range({statements}):
        connection.execute(text("select 1"))
    if {leaks} and dice == 0:
        KEPT.append(connection.engine.connect())
    think(service * {hold})

class Queue(Scenario):
    arrivals = poisson("{rate:.1f}/s")
    transactions = (work,)
    objectives = ()
'''
PLANTED = {
    "hold + 20 %": ({"hold": 1.2}, ()),
    "a leak": ({"leaks": True}, ()),
    "a round trip more": ({"statements": 2}, ()),
    "the pool cut by a third": ({}, ("--head", "--pool-size 6")),
}


def write(directory: Path, utilisation: float, **changes: object) -> Path:
    """Write the scenario into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    median = SERVICE_MS / float(np.exp(0.8**2 / 2))
    values = {"median": f"{median:.2f}", "statements": 1, "leaks": False, "hold": 1.0}
    rate = utilisation * SIZE / (SERVICE_MS / 1000 + 0.002)
    path = directory / "queue.py"
    path.write_text(SCENARIO.format(**{**values, **changes, "rate": rate}))
    return path


def identical(utilisation: float, pairs: int, seconds: float, comparisons: int, directory: Path) -> None:
    """Record the pairs, compare, print one line."""
    found = find(str(write(directory, utilisation)))
    recorded: list[tuple[Evidence, Evidence]] = []
    with EmbeddedPostgres() as server:
        target = TargetSpec(url=server.url, allow_writes=True, pool_size=SIZE, max_overflow=0)
        for seed in range(pairs):
            plan = LoadPlan(found, target, seed, duration_s=seconds, runs_dir=directory / "runs")
            recorded.append((evidence(rehearse(plan)), evidence(rehearse(plan))))
    sound = [pair for pair in recorded if not any(item.broken or item.disturbed for item in pair)]
    ended: Counter[str] = Counter()
    coin = np.random.default_rng(1)
    for _ in range(comparisons if len(sound) >= 6 else 0):
        chosen = coin.choice(len(sound), 6, replace=False)
        sides = [sound[index][:: coin.choice((1, -1))] for index in chosen]
        ended[compare([a for a, _ in sides], [b for _, b in sides], Declared()).verdict.value] += 1
    spread = np.std([np.log(_p95(b) / _p95(a)) for a, b in sound], ddof=1) if len(sound) > 1 else float("nan")
    count = f"{len(sound)} of {pairs} pairs count"
    print(f"identical at {utilisation:.0%}: {count}, spread of a pair {spread:.1%}, {dict(ended)}", flush=True)


def _p95(item: Evidence) -> float:
    return float(np.quantile(item.times["response"], 0.95))


def planted(times: int, seconds: str, directory: Path) -> None:
    """Plant each regression, print the verdicts of `poolctl compare --ab`."""
    for name, (changes, options) in PLANTED.items():
        codes, took = [], []
        for number in range(times):
            place = directory / f"{len(codes)}-{name.replace(' ', '-')}"
            for side, what in (("base", {}), ("head", changes)):
                write(place / side, 0.70, **what)
            command = [sys.executable, "-m", "poolctl", "compare", "--ab", "queue.py", "--pool-size", str(SIZE)]
            command += ["--max-overflow", "0", "--base-dir", str(place / "base"), "--head-dir", str(place / "head")]
            command += [
                "--duration",
                seconds,
                "--pairs",
                "6",
                "--looks",
                "2",
                "--seed",
                str(100 + number),
                "--quiet",
                *options,
            ]
            began = time.monotonic()
            done = subprocess.run(command, cwd=place, env=os.environ, capture_output=True, text=True, check=False)
            took.append(time.monotonic() - began)
            codes.append(done.returncode)
            print(f"  {done.stdout.partition(chr(10))[0] or done.stderr.strip()}", flush=True)
        print(
            f"{name}: failed {codes.count(1)} of {times}, inconclusive {codes.count(4)}; {max(took):.0f} s at most",
            flush=True,
        )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["identical", "planted"])
    parser.add_argument("--utilisation", type=float, nargs="+", default=[0.6, 0.75, 0.9])
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--comparisons", type=int, default=100)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--duration", default="6s")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.what == "planted":
            planted(given.times, given.duration, Path(name))
            return
        for utilisation in given.utilisation:
            seconds = parse_duration(given.duration)
            identical(utilisation, given.pairs, seconds, given.comparisons, Path(name) / f"{utilisation}")


if __name__ == "__main__":
    main()
