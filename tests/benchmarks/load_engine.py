"""What the load engine costs: start lag at 1,000 arrivals/s, and the throughput of a closed loop beside plain asyncio.

    python tests/benchmarks/load_engine.py [--rounds 7] [--seconds 4] [--only lag|throughput]

Needs nothing but poolctl: it starts the embedded PostgreSQL. (a) Poisson arrivals of `select 1`, 1,000/s: the time from
the intended instant to the actual start. (b) 16 clients, pool of 16, `select 1` without think time: operations a second
through poolctl, capture on, divided by those of the same loop written in plain asyncio on uvloop without poolctl, both
in a process of their own, measured in turns; the median of the rounds' ratios is what counts. Trust the ratios, not the
rates: the machine is shared with the server.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from poolctl.load.find import find
from poolctl.load.plan import LoadPlan
from poolctl.load.session import rehearse
from poolctl.target.embedded import EmbeddedPostgres
from poolctl.target.spec import TargetSpec
from poolctl.trace.eventfile import read_records
from poolctl.trace.events import LAYOUTS, Kind
from poolctl.trace.run import Run

WARM_UP_S = 1.0
CLIENTS = 16

SCENARIO = """
from sqlalchemy import text
from poolctl.load import Scenario, closed, poisson, transaction

ONE = text("select 1")

@transaction
def plain(connection):
    connection.execute(ONE)

@transaction
async def native(connection):
    await connection.execute(ONE)

class Lag(Scenario):
    arrivals = poisson("1000/s")
    transactions = (plain,)

class Plain(Scenario):
    arrivals = closed(16)
    transactions = (plain,)

class Native(Scenario):
    arrivals = closed(16)
    transactions = (native,)
"""


LOOP = """
import asyncio, sys, time, uvloop
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

async def main(url, warm_up_s, seconds):
    engine = create_async_engine(url, pool_size=16, max_overflow=0)
    one, count = text("select 1"), 0
    begin = time.perf_counter() + warm_up_s
    end = begin + seconds

    async def client():
        nonlocal count
        while (now := time.perf_counter()) < end:
            async with engine.connect() as connection:
                await connection.execute(one)
            if now >= begin:
                count += 1

    await asyncio.gather(*(client() for _ in range(16)))
    await engine.dispose()
    print(count / seconds)

uvloop.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
"""


def operations(run: Run) -> np.ndarray:
    """Return intended, started and ended (nanoseconds since the run's start) of every operation, one row each."""
    origin = run.read_meta()["anchor"][0]
    rows = []
    for path in run.event_files():
        for _, ended_at, _, kind, *_, intended_at, started_at, _, _, _, _ in (
            LAYOUTS[Kind.OPERATION].unpack(record)
            for record in _records(read_records(path))
            if record[24] == Kind.OPERATION
        ):
            assert kind == Kind.OPERATION
            rows.append((intended_at - origin, started_at - origin, ended_at - origin))
    return np.array(rows, dtype=np.int64)


def _records(data: bytes | memoryview) -> list[bytes]:
    return [bytes(data[at : at + 64]) for at in range(0, len(data), 64)]


def poolctl_run(scenario: str, url: str, seconds: float, directory: Path) -> Run:
    """Make one run of the benchmark's scenario against `url`, with a pool of 16."""
    target = TargetSpec(url=url, embedded=True, pool_size=CLIENTS, max_overflow=0)
    plan = LoadPlan(
        find(f"{directory}/load_engine_scenario.py:{scenario}"), target, seed=1, duration_s=seconds, runs_dir=directory
    )
    return rehearse(plan)


def throughput_of_poolctl(scenario: str, url: str, seconds: float, directory: Path) -> float:
    """Return operations per second after the warm-up."""
    ended = operations(poolctl_run(scenario, url, seconds + WARM_UP_S, directory))[:, 2] / 1e9
    return float(((ended >= WARM_UP_S) & (ended < WARM_UP_S + seconds)).sum() / seconds)


def throughput_of_asyncio(url: str, seconds: float) -> float:
    """Return operations per second of the same loop in a process that never imports poolctl."""
    command = [sys.executable, "-c", LOOP, url, str(WARM_UP_S), str(seconds)]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def show_lag(url: str, seconds: float, directory: Path) -> None:
    """Print the start lag at 1,000 arrivals/s."""
    run = poolctl_run("Lag", url, seconds, directory)
    table = operations(run)
    lag_ms = (table[:, 1] - table[:, 0]) / 1e6
    response_ms = (table[:, 2] - table[:, 0]) / 1e6
    p50, p95, p99 = np.percentile(lag_ms, [50, 95, 99])
    print(f"start lag of {len(table)} arrivals in {seconds:g} s: p50 {p50:.3f}  p95 {p95:.3f}  p99 {p99:.3f}", end="")
    print(f"  max {lag_ms.max():.2f} ms (target: p99 < 2 ms); response p99 {np.percentile(response_ms, 99):.2f} ms")


def show_throughput(url: str, seconds: float, rounds: int, directory: Path) -> None:
    """Print the ratio of the throughputs, round by round, and its median."""
    ratios: dict[str, list[float]] = {"Plain": [], "Native": []}
    for number in range(rounds):
        base = throughput_of_asyncio(url, seconds)
        for scenario, found in ratios.items():
            rate = throughput_of_poolctl(scenario, url, seconds, directory)
            again = throughput_of_asyncio(url, seconds)
            found.append(rate / ((base + again) / 2))
            around = f"asyncio {base:5.0f}/s, {again:5.0f}/s"
            print(f"round {number + 1}: {scenario:6} {rate:5.0f}/s, {around}: {found[-1]:.3f}")
            base = again
    for scenario, found in ratios.items():
        what = "plain function" if scenario == "Plain" else "async def"
        print(f"closed loop, {what}: median of {rounds} ratios {statistics.median(found):.3f} (target: 0.92 or more)")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", choices=("lag", "throughput"))
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres() as postgres:
        directory = Path(name)
        (directory / "load_engine_scenario.py").write_text(SCENARIO)
        if options.only != "throughput":
            show_lag(postgres.url, 10.0, directory)
        if options.only != "lag":
            show_throughput(postgres.url, options.seconds, options.rounds, directory)


if __name__ == "__main__":
    main()
