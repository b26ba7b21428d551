"""The real runs that sizing is judged by: made when they are missing, kept, read again without any load.

In: a directory, workloads, sizes. Out: the tables of each run. One PostgreSQL serves all of them. A run is known by its
workload, size, seed, repetition and length, so that a benchmark that was cut off goes on where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import statistics
import sys
import time
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from poolctl.analysis.leases import Tables, tables
from poolctl.load.find import find
from poolctl.load.plan import LoadPlan
from poolctl.load.session import COMPLETED, rehearse
from poolctl.target.embedded import EmbeddedPostgres
from poolctl.target.spec import TargetSpec
from poolctl.trace.run import Run

HERE = Path(__file__).parent
TIMEOUT_S = 0.5
SEED = 7
COMPUTES_S = 0.004
"""How long the computing statement takes, on any machine; of 5 ms bursts ask for more than two cores have."""


class Bench:
    """The runs of one directory. With `replay_only` nothing is run, and what is missing is None."""

    def __init__(self, directory: Path, seconds: float, *, replay_only: bool = False) -> None:
        self.directory, self.seconds, self.replay_only = directory, seconds, replay_only
        directory.mkdir(parents=True, exist_ok=True)
        self.index = directory / "index.json"
        self.known: dict[str, str] = json.loads(self.index.read_text()) if self.index.exists() else {}
        self.made = 0
        self._server: EmbeddedPostgres | None = None
        self._left = contextlib.ExitStack()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.close()

    def run(
        self, name: str, size: int, repeat: int = 0, seed: int = SEED, seconds: float | None = None
    ) -> Tables | None:
        """Return the tables of the workload at this size; `seconds` where they are not the benchmark's own."""
        seconds = seconds or self.seconds
        key = self._key(name, size, repeat, seed, seconds)
        if key not in self.known:
            if self.replay_only:
                return None
            self.known[key] = self._make(name, size, seed, seconds).name
            self.index.write_text(json.dumps(self.known, indent=1))
        path = Path(self.known[key])  # a name, or a path as older benchmarks wrote it
        return tables(Run(path if path.is_absolute() else self.directory / path))

    def sizes(self, name: str) -> list[int]:
        """Return the sizes at which there are runs of the workload on the one tape."""
        keys = (key.split() for key in self.known)
        found = {int(size) for one, size, _, *more in keys if one == name and more == [f"{self.seconds:g}"]}
        return sorted(found)

    def has(self, name: str, size: int, repeat: int = 0, seed: int = SEED) -> bool:
        """Whether there is such a run already."""
        return self._key(name, size, repeat, seed, self.seconds) in self.known

    def _key(self, name: str, size: int, repeat: int, seed: int, seconds: float) -> str:
        return f"{name} {size} {repeat} {seconds:g}" + (f" seed{seed}" if seed != SEED else "")

    def _make(self, name: str, size: int, seed: int, seconds: float) -> Path:
        if self._server is None:
            self._server = self._left.enter_context(EmbeddedPostgres())
            rows = self.directory / "rows"
            if not rows.exists():
                rows.write_text(str(rows_computed(self._server.url, COMPUTES_S)))
            os.environ["SIZING_ROWS"] = rows.read_text()
        began = time.monotonic()
        plan = LoadPlan(
            found=find(f"{HERE / 'sizing_workloads.py'}:{name}"),
            target=TargetSpec(pool_size=size, max_overflow=0, pool_timeout_s=TIMEOUT_S).started(self._server.url),
            seed=seed,
            duration_s=seconds,
            runs_dir=self.directory,
        )
        run = rehearse(plan)
        if run.read_meta().get("end") != COMPLETED:
            raise SystemExit(f"{name} at {size}: {run.read_meta().get('end')}; start it again to go on")
        self.made += 1
        print(f"  made {name} at {size} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return run.path


def rows_computed(url: str, seconds: float) -> int:
    """Return how many rows this machine sums up in so many seconds, with all its cores at it.

    Alone a statement may have what the processor's other thread leaves: on two threads of one core 1.7 times as much.
    A load that was measured out by that asks for more than the machine has, and no size is roomy.
    """
    query = text("SELECT sum(g) FROM generate_series(1, 20000) g")

    async def client(engine: AsyncEngine) -> list[float]:
        took = []
        async with engine.connect() as connection:
            for _ in range(1000):
                began = time.perf_counter()
                await connection.execute(query)
                took.append(time.perf_counter() - began)
        return took[50:]

    async def measure() -> float:
        engine = create_async_engine(url)
        took = await asyncio.gather(*(client(engine) for _ in range(os.cpu_count() or 1)))
        await engine.dispose()
        return statistics.median(itertools.chain(*took))

    return int(20_000 * seconds / asyncio.run(measure()))
