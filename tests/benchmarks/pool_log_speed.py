"""How fast a pool's log is read: `python tests/benchmarks/pool_log_speed.py [LINES]`.

Prints lines a second (CPU time) and the peak memory, for a log of a pool's lines alone, and for one in which nine of
ten lines are something else.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from poolctl.target.pool_log import read_log
from poolctl.trace.run import Run

LOGGER = "sqlalchemy.pool.impl.AsyncAdaptedQueuePool"


def write(path: Path, lines: int, others: int) -> int:
    """Write a log; `others` lines of an access log after each of the pool's. Returns how many lines it has."""
    with path.open("w") as file:
        for number in range(lines // 3):
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_780_000_000 + number // 200))
            head = f"{at},{number % 200 * 5:03d} 4321 139643507006336 Task-{number}"
            shown = f"<AdaptedConnection <asyncpg.connection.Connection object at 0x7f0131d4f{number % 10:x}0>>"
            for verb in ("checked out from pool", "being returned to pool", "rollback-on-return"):
                file.write(f"{head} {LOGGER} Connection {shown} {verb}\n")
                file.write(f'{head} uvicorn.access 127.0.0.1 - "GET /orders/{number} HTTP/1.1" 200\n' * others)
    return lines // 3 * 3 * (1 + others)


def main() -> None:
    """Write, read, print."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 600_000
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "pool.log"
        for others in (0, 9):
            total = write(path, lines // (1 + others), others)
            run = Run.create(Path(name) / "runs")
            began = time.process_time()
            leases = read_log(path, run).leases
            spent = time.process_time() - began
            megabytes = path.stat().st_size / 1e6
            print(
                f"{total:,} lines, {others} of {others + 1} of something else: {total / spent:,.0f} lines/s, "
                f"{megabytes / spent:.0f} MB/s, {leases:,} leases, "
                f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"
            )


if __name__ == "__main__":
    main()
