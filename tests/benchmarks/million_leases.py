"""A million leases: how long the tables, the report and a second report take, and the peak of memory.

    python tests/benchmarks/million_leases.py [leases] [processes]

Writes a synthetic run (REQUEST, CHECKOUT, two STATEMENTs, CHECKIN and OPERATION of each lease) into a temporary
directory, then analyses it in a fresh process that prints seconds and the peak of resident memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from synthesis import EPOCH, SETTINGS, TARGET, WALL, header

from poolctl.analysis.records import DTYPES
from poolctl.trace.events import Flag, Kind
from poolctl.trace.run import Run

CAPACITY = 20
ANALYSE = """
import resource, sys, time
from pathlib import Path
began = time.perf_counter()
from poolctl.trace.run import Run
from poolctl.analysis.leases import tables
from poolctl.analysis.summary import analyse
run = Run(Path(sys.argv[1]))
imported = time.perf_counter()
if sys.argv[2] == "tables":
    rows = len(tables(run).leases)
else:
    rows = analyse(run).leases.total
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
took = time.perf_counter() - imported
print(f"{sys.argv[2]}: {rows:,} leases, imports {imported - began:.1f} s, then {took:.1f} s, peak {peak:,.0f} MB")
"""


def waits_of(at: np.ndarray, hold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FIFO through CAPACITY connections: the wait of each request and the connection it gets (nanoseconds)."""
    import heapq

    free = [(0, number) for number in range(1, CAPACITY + 1)]
    wait, connection = np.empty(len(at), np.int64), np.empty(len(at), np.int64)
    for row, (asked, held) in enumerate(zip(at.tolist(), hold.tolist(), strict=True)):
        ready, number = free[0]
        start = max(ready, asked)
        wait[row], connection[row] = start - asked, number
        heapq.heapreplace(free, (start + held, number))
    return wait, connection


def records_of(kind: Kind, at: np.ndarray, **fields: object) -> np.ndarray:
    """One record for each instant."""
    rows = np.zeros(len(at), DTYPES[kind])
    rows["at"], rows["kind"] = at, int(kind)
    for name, values in fields.items():
        rows[name] = values
    return rows.view(np.dtype("V64"))


def write_process(directory: Path, pid: int, leases: int, rate: float, seed: int) -> float:
    """Write one process's files; return the seconds that it lasts."""
    random = np.random.default_rng(seed)
    gaps = random.exponential(1e9 / rate, leases) * np.where((np.arange(leases) // 5000) % 4 == 0, 0.7, 1.1)
    at = EPOCH + np.cumsum(gaps).astype(np.int64)
    hold = (random.lognormal(0, 0.8, leases) * 1e9 * 0.55 * CAPACITY / rate).astype(np.int64)
    wait, connection = waits_of(at - EPOCH, hold)
    acquired, ended = at + wait, at + wait + hold
    lease, item = np.arange(1, leases + 1), np.arange(leases)
    kinds = random.integers(1, 6, leases)
    parts = [
        records_of(
            Kind.REQUEST, at, lease=lease, pool=1, site=kinds, context=kinds, item=item, task=lease, intended_at=at
        ),
        records_of(
            Kind.CHECKOUT,
            acquired,
            lease=lease,
            pool=1,
            wait=wait,
            connection=connection,
            backend_pid=9000 + connection,
        ),
        records_of(Kind.STATEMENT, acquired + hold // 3, lease=lease, pool=1, started_at=acquired, statement=1),
        records_of(
            Kind.STATEMENT, ended - 1, lease=lease, pool=1, started_at=ended - hold // 4, flags=int(Flag.SKIPPED)
        ),
        records_of(
            Kind.CHECKIN,
            ended,
            lease=lease,
            pool=1,
            sql=hold // 3 + hold // 4,
            reset=100_000,
            checkin=150_000,
            statements=1,
            transactions=1,
        ),
        records_of(Kind.OPERATION, ended + 1, intended_at=at, started_at=at, context=kinds, item=item),
    ]
    everything = np.concatenate(parts)
    del parts
    typed = everything.view(DTYPES[Kind.REQUEST])
    everything = everything[np.argsort(typed["at"], kind="stable")]
    everything.view(DTYPES[Kind.REQUEST])["sequence"] = np.arange(1, len(everything) + 1)
    with (directory / f"events-{pid}.bin").open("wb") as file:
        file.write(header(pid))
        everything.tofile(file)
    names: list[dict[str, object]] = [
        {"kind": "process", "pid": pid, "anchor": [EPOCH, WALL]},
        {
            "kind": "pool",
            "n": 1,
            "class": TARGET["pool_class"],
            "settings": {**SETTINGS, "pool_size": CAPACITY, "max_overflow": 0},
            "engine": 1,
        },
    ]
    for number in range(1, 6):
        names.append(
            {"kind": "site", "n": number, "file": f"app/m{number}.py", "line": 10 * number, "function": "handler"}
        )
        names.append({"kind": "context", "n": number, "name": f"GET /{number}"})
    (directory / f"names-{pid}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in names))
    return float(ended.max() - EPOCH) / 1e9


def main() -> None:
    leases = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with tempfile.TemporaryDirectory() as root:
        run = Run(Path(root) / "run")
        run.path.mkdir()
        began = time.perf_counter()
        each = leases // processes
        lasts = max(write_process(run.path, 5000 + number, each, 800.0, number) for number in range(processes))
        run.write_meta(
            {
                "command": "loadtest",
                "scenario": "synthetic",
                "seed": 1,
                "anchor": [EPOCH, WALL],
                "duration_s": lasts,
                "processes": processes,
                "end": "completed",
                "target": {**TARGET, "settings": {**SETTINGS, "pool_size": CAPACITY, "max_overflow": 0}},
                "load": {"model": "open", "arrivals": leases},
                "objectives": ["p95 wait < 50ms", "rate timeouts < 0.1%"],
            }
        )
        size = sum(path.stat().st_size for path in run.path.iterdir()) / 2**20
        print(
            f"written: {leases:,} leases, {size:,.0f} MB, {lasts:,.0f} s of load, "
            f"in {time.perf_counter() - began:.0f} s"
        )
        for what in ("tables", "tables", "report"):
            subprocess.run([sys.executable, "-c", ANALYSE, str(run.path), what], check=True)
        kept = sum(path.stat().st_size for path in run.path.glob("*.parquet")) / 2**20
        print(f"kept: {kept:,.0f} MB of Parquet")


if __name__ == "__main__":
    main()
