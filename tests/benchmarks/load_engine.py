"""What the load engine costs: start lag at 1,000 arrivals/s, and the throughput of a closed loop beside plain asyncio.

    python tests/benchmarks/load_engine.py [--rounds 7] [--seconds 4] [--only lag|throughput]

Needs nothing but poolctl: it starts the embedded PostgreSQL. (a) Poisson arrivals of `select 1`, 1,000/s: the time from
the intended instant to the actual start. (b) 16 clients, pool of 16, `select 1` without think time: operations a second
through poolctl, capture on, divided by those of the same loop written in plain asyncio on uvloop without poolctl, both
in a process of their own, measured in turns; the median of the rounds' ratios is what counts. The ratio of the CPU time
that an operation costs the process (all threads of the worker) is the same figure where the loop is the limit, and less
troubled by what else the machine does.
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
from poolctl.trace.events import LAYOUTS, RECORD_BYTES, Kind
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

async def run(url, warm_up_s, seconds):
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

    async def cpu():
        await asyncio.sleep(warm_up_s)
        before = time.process_time()
        await asyncio.sleep(seconds - 0.01)
        return time.process_time() - before

    used, *_ = await asyncio.gather(cpu(), *(client() for _ in range(16)))
    await engine.dispose()
    print(count / seconds, used / count)

uvloop.run(run(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
"""


def records(run: Run, kind: Kind) -> list[tuple[int, ...]]:
    """Return the records of one kind, unpacked in the order of their layout."""
    data = b"".join(bytes(read_records(path)) for path in run.event_files())
    found = (data[at : at + RECORD_BYTES] for at in range(0, len(data), RECORD_BYTES))
    return [LAYOUTS[kind].unpack(record) for record in found if record[24] == kind]


def operations(run: Run) -> np.ndarray:
    """Return intended, started and ended (nanoseconds since the run's start) of every operation, one row each."""
    origin = run.read_meta()["anchor"][0]
    rows = [(row[7] - origin, row[8] - origin, row[1] - origin) for row in records(run, Kind.OPERATION)]
    return np.array(rows, dtype=np.int64)


def poolctl_run(scenario: str, url: str, seconds: float, directory: Path) -> Run:
    """Make one run of the benchmark's scenario against `url`, with a pool of 16."""
    target = TargetSpec(url=url, embedded=True, pool_size=CLIENTS, max_overflow=0)
    found = find(f"{directory}/load_engine_scenario.py:{scenario}")
    return rehearse(LoadPlan(found, target, seed=1, duration_s=seconds, runs_dir=directory))


def through_poolctl(scenario: str, url: str, seconds: float, directory: Path) -> tuple[float, float]:
    """Return operations per second after the warm-up, and CPU seconds of the whole worker process for each."""
    run = poolctl_run(scenario, url, seconds + WARM_UP_S, directory)
    origin = run.read_meta()["anchor"][0]
    ended = operations(run)[:, 2] / 1e9
    rate = float(((ended >= WARM_UP_S) & (ended < WARM_UP_S + seconds)).sum() / seconds)
    at, wall, all_cpu = (
        np.array([row[index] for row in records(run, Kind.SAMPLE)]) / 1e9 for index in (1, 8, 11)
    )  # a sample is taken each second, and looks back at it
    begins, ends = at - wall - origin / 1e9, at - origin / 1e9
    inside = (begins >= WARM_UP_S / 2) & (ends <= WARM_UP_S + seconds)
    done = sum(((ended >= a) & (ended < b)).sum() for a, b in zip(begins[inside], ends[inside], strict=True))
    return rate, float(all_cpu[inside].sum() / done)


def through_asyncio(url: str, seconds: float) -> tuple[float, float]:
    """Return the same of the same loop in a process that never imports poolctl."""
    command = [sys.executable, "-c", LOOP, url, str(WARM_UP_S), str(seconds)]
    rate, cpu = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(rate), float(cpu)


def show_lag(url: str, seconds: float, directory: Path) -> None:
    """Print the start lag at 1,000 arrivals/s."""
    table = operations(poolctl_run("Lag", url, seconds, directory))
    lag_ms = (table[:, 1] - table[:, 0]) / 1e6
    response_ms = (table[:, 2] - table[:, 0]) / 1e6
    p50, p95, p99 = np.percentile(lag_ms, [50, 95, 99])
    print(f"start lag of {len(table)} arrivals in {seconds:g} s: p50 {p50:.3f}  p95 {p95:.3f}  p99 {p99:.3f}", end="")
    print(f"  max {lag_ms.max():.2f} ms (target: p99 < 2 ms); response p99 {np.percentile(response_ms, 99):.2f} ms")


def show_throughput(url: str, seconds: float, rounds: int, directory: Path) -> None:
    """Print the ratios of throughput and of CPU time, round by round, and their medians."""
    for scenario, what in (("Plain", "plain function"), ("Native", "async def")):
        rates, costs = [], []
        before = through_asyncio(url, seconds)
        for number in range(rounds):
            rate, cpu = through_poolctl(scenario, url, seconds, directory)
            after = through_asyncio(url, seconds)
            base_rate, base_cpu = ((a + b) / 2 for a, b in zip(before, after, strict=True))
            rates.append(rate / base_rate)
            costs.append(base_cpu / cpu)
            print(f"{what} {number + 1}: {rate:.0f}/s, {cpu * 1e6:.0f} µs CPU; asyncio {base_rate:.0f}/s, ", end="")
            print(f"{base_cpu * 1e6:.0f} µs; ratios {rates[-1]:.3f}, {costs[-1]:.3f}")
            before = after
        print(f"{what}, median of {rounds} rounds: throughput ratio {statistics.median(rates):.3f}, ", end="")
        print(f"CPU ratio {statistics.median(costs):.3f} (target: 0.92 or more)")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
