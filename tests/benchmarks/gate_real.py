"""The gate on a real PostgreSQL: identical sides, and planted regressions. Wants a quiet machine.

    python tests/benchmarks/gate_real.py planted --times 10
    python tests/benchmarks/gate_real.py identical --utilisation 0.6 0.75 0.9 --pairs 24

`planted` runs `poolctl compare --ab` on two directories whose scenario differs in one thing; `identical` records pairs
of runs on the same tapes and makes comparisons of six pairs of them, each with its sides swapped by a coin: all are
comparisons of identical code. What is done is kept in a directory (`--into`) and not done again: stop it, go on later.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from poolctl.analysis.compare import Declared, compare
from poolctl.analysis.evidence import Evidence, evidence
from poolctl.load.find import find
from poolctl.load.plan import LoadPlan
from poolctl.load.session import rehearse
from poolctl.target.embedded import EmbeddedPostgres
from poolctl.target.spec import TargetSpec
from poolctl.trace.run import Run
from poolctl.units import parse_duration

SIZE, SERVICE_MS = 9, 30
PAIRS, LOOKS, DURATION = "10", "3", "3s"
"""At most 10 pairs of 3 s: 90 s on a quiet machine, with room for pairs that it disturbs; looks after 4, 7 and 10."""
LIMIT_S = 120
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
PLANTED: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "a leak": ({"leaks": True}, ()),
    "a round trip more": ({"statements": 2}, ()),
    "the pool cut by a third": ({}, ("--head", "--pool-size 6")),
    "hold + 20 %": ({"hold": 1.2}, ()),
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


class Kept:
    """What was done, a line of JSON each: what is there is not done again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def find(self, **key: Any) -> dict[str, Any] | None:
        """Return the row with these values."""
        return next((row for row in self.rows if all(row.get(name) == key[name] for name in key)), None)

    def add(self, **row: Any) -> dict[str, Any]:
        """Keep a row."""
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)
        return row


def planted(names: list[str], times: int, seconds: str, directory: Path) -> None:
    """Plant each regression, print each verdict of `poolctl compare --ab` and a line for all of them."""
    kept = Kept(directory / "planted.jsonl")
    for name in names:
        rows = []
        for number in range(times):
            key = {"planted": name, "number": number, "duration": seconds}
            row = kept.find(**key) or kept.add(**key, **_compare(name, number, seconds, directory))
            rows.append(row)
            said = f"exit {row['code']} after {row['seconds']:.0f} s, {row['pairs']} pairs, {row['again']} made again"
            print(f"  {name} {number + 1}/{times}: {said}: {row['said']}", flush=True)
        codes, took = Counter(row["code"] for row in rows), [row["seconds"] for row in rows]
        within = sum(row["code"] == 1 and row["seconds"] <= LIMIT_S for row in rows)
        print(
            f"{name}: failed {codes[1]} of {times} ({within} within {LIMIT_S} s), inconclusive {codes[4]}, passed "
            f"{codes[0]}; {np.median(took):.0f} s typically, {max(took):.0f} s at most",
            flush=True,
        )


def _compare(name: str, number: int, seconds: str, directory: Path) -> dict[str, Any]:
    changes, options = PLANTED[name]
    with tempfile.TemporaryDirectory(dir=directory) as made:
        place = Path(made)
        for side, what in (("base", {}), ("head", changes)):
            write(place / side, 0.70, **what)
        command = [sys.executable, "-m", "poolctl", "compare", "--ab", "queue.py", "--pool-size", str(SIZE)]
        command += ["--max-overflow", "0", "--base-dir", str(place / "base"), "--head-dir", str(place / "head")]
        command += ["--duration", seconds, "--pairs", PAIRS, "--looks", LOOKS, "--seed", str(100 + 50 * number)]
        began = time.monotonic()
        done = subprocess.run([*command, *options], cwd=place, capture_output=True, text=True, check=False)
        took = time.monotonic() - began
    return {
        "code": done.returncode,
        "seconds": took,
        "pairs": done.stderr.count(": pair "),
        "again": done.stderr.count(": made again"),
        "said": " ".join((done.stdout.partition("\n  gate")[0] or done.stderr.strip()).split()),
    }


def identical(utilisation: float, pairs: int, seconds: str, comparisons: int, directory: Path) -> None:
    """Record the pairs, compare, print one line."""
    recorded = list(_recorded(utilisation, pairs, seconds, directory))
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


def _recorded(utilisation: float, pairs: int, seconds: str, directory: Path) -> Iterator[tuple[Evidence, Evidence]]:
    place = directory / f"identical-{utilisation}"
    kept = Kept(place / "pairs.jsonl")
    found = find(str(write(place, utilisation)))
    with EmbeddedPostgres() as server:
        target = TargetSpec(url=server.url, allow_writes=True, pool_size=SIZE, max_overflow=0)
        for seed in range(pairs):
            plan = LoadPlan(found, target, seed, duration_s=parse_duration(seconds), runs_dir=place / "runs")
            key = {"seed": seed, "duration": seconds}
            row = kept.find(**key) or kept.add(**key, runs=[str(rehearse(plan).path) for _ in range(2)])
            first, second = (evidence(Run(Path(path))) for path in row["runs"])
            why = first.disturbed or first.broken or second.disturbed or second.broken
            times = f"p95 response {_p95(first):.3f} s and {_p95(second):.3f} s"
            print(
                f"  {utilisation:.0%} pair {seed + 1}/{pairs}: {times}{f'; does not count: {why}' if why else ''}",
                flush=True,
            )
            yield first, second


def _p95(item: Evidence) -> float:
    return float(np.quantile(item.times["response"], 0.95))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["identical", "planted"])
    parser.add_argument("--utilisation", type=float, nargs="+", default=[0.6, 0.75, 0.9])
    parser.add_argument("--pairs", type=int, default=24, help="of identical runs")
    parser.add_argument("--comparisons", type=int, default=100, help="of identical sides")
    parser.add_argument("--times", type=int, default=10, help="that each regression is planted")
    parser.add_argument("--only", choices=list(PLANTED), action="append", help="plant this one; repeatable")
    parser.add_argument("--duration", default=DURATION, help="of a run")
    parser.add_argument("--into", type=Path, default=Path(tempfile.gettempdir()) / f"poolctl-gate-{os.getuid()}")
    parser.add_argument("--fresh", action="store_true", help="forget what was done")
    given = parser.parse_args()
    if given.fresh:
        shutil.rmtree(given.into, ignore_errors=True)
    given.into.mkdir(parents=True, exist_ok=True)
    print(f"what is done is kept in {given.into}", flush=True)
    if given.what == "planted":
        planted(given.only or list(PLANTED), given.times, given.duration, given.into)
        return
    for utilisation in given.utilisation:
        identical(utilisation, given.pairs, given.duration, given.comparisons, given.into)


if __name__ == "__main__":
    main()
