"""What capture costs: a checkout, `select 1`, checkin, with and without it, beside a DEBUG log and OpenTelemetry.

    python tests/benchmarks/capture_cost.py [--drivers dummy aiosqlite asyncpg psycopg] [--rounds 9]

Each mode runs in a process of its own (toggling wrappers in one process de-specialises bytecode and flatters nobody),
and each round in new ones: where a process's objects happen to lie makes it some percent faster or slower for good.
All processes of a round live at once and take turns, a chunk each, so that what else the machine does hits all of them
alike. A round's ratio is the median over its chunks of the ratio to `none` in the same turn; printed is the median over
the rounds, and their range. CPU time of the process is the steadier of the two clocks on a busy machine; a drain runs
beside `capture`, as it would in use.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import logging
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

MODES = ("none", "capture", "not compiled", "debug log", "opentelemetry")
"""`not compiled` is capture as it runs where the installation found no compiler."""
PAIRS = {"dummy": 4000, "aiosqlite": 300, "asyncpg": 600, "psycopg": 600}
"""Operations in a chunk, by driver."""
WARM_UP = 1500


def main() -> None:
    """Measure every driver and print a table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drivers", nargs="*", default=list(PAIRS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--chunks", type=int, default=9)
    parser.add_argument("--modes", nargs="*", default=list(MODES))
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON document")
    parser.add_argument("--work", nargs=4, metavar=("DRIVER", "MODE", "URL", "DIRECTORY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        _work(*options.work)
        return
    modes = options.modes
    if "none" not in modes:
        parser.error("the ratios are to `none`: it must be among --modes")
    if "opentelemetry" in modes and not _has_opentelemetry():
        parser.error(
            "opentelemetry-instrumentation-sqlalchemy is not installed (extra `test`): leave it out by --modes"
        )
    results = {driver: _measure(driver, modes, options.rounds, options.chunks) for driver in options.drivers}
    if options.json:
        print(json.dumps(results, indent=1))
        return
    print(f"{'driver':<10} {'mode':<14} {'wall µs':>8}  {'ratio (range)':<22} {'CPU µs':>8}  ratio (range)")
    for driver, figures in results.items():
        for mode in modes:
            wall, cpu = figures[mode]["wall"], figures[mode]["cpu"]
            print(f"{driver:<10} {mode:<14} {_row(wall):<32} {_row(cpu)}")


def _row(figures: dict[str, float]) -> str:
    return f"{figures['us']:8.1f}  {figures['ratio']:.3f} ({figures['low']:.3f}–{figures['high']:.3f})"


def _measure(driver: str, modes: list[str], rounds: int, chunks: int) -> dict[str, dict[str, dict[str, float]]]:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        url = stack.enter_context(_database(driver, directory))
        stop = threading.Event()
        draining = threading.Thread(target=_drain, args=(Path(directory), stop))
        draining.start()
        stack.callback(draining.join)
        stack.callback(stop.set)
        seen = [_round(driver, modes, chunks, url, directory) for _ in range(rounds)]
    return {mode: {"wall": _figures(seen, mode, 0), "cpu": _figures(seen, mode, 1)} for mode in modes}


def _round(
    driver: str, modes: list[str], chunks: int, url: str, directory: str
) -> dict[str, list[tuple[float, float]]]:
    """Return each mode's chunks as (wall, CPU) nanoseconds an operation; the n-th of all modes belong together."""
    with contextlib.ExitStack() as stack:
        workers = {mode: stack.enter_context(_worker(driver, mode, url, directory)) for mode in modes}
        taken: dict[str, list[tuple[float, float]]] = {mode: [] for mode in modes}
        for _ in range(chunks):
            for mode in random.sample(modes, len(modes)):
                taken[mode].append(_turn(workers[mode]))
        return taken


def _figures(rounds: list[dict[str, list[tuple[float, float]]]], mode: str, clock: int) -> dict[str, float]:
    """Medians over the rounds of the medians over the chunks, and the range of the rounds' ratios."""
    ratios = [
        statistics.median(mine[clock] / base[clock] for mine, base in zip(taken[mode], taken["none"], strict=True))
        for taken in rounds
    ]
    times = [statistics.median(chunk[clock] for chunk in taken[mode]) for taken in rounds]
    return {
        "us": statistics.median(times) / 1e3,
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }


@contextlib.contextmanager
def _database(driver: str, directory: str) -> Iterator[str]:
    if driver in ("asyncpg", "psycopg"):
        from poolctl.target.embedded import EmbeddedPostgres

        with EmbeddedPostgres() as server:
            yield server.url.replace("+asyncpg", f"+{driver}", 1)
    else:
        yield f"sqlite+aiosqlite:///{directory}/bench.db"


@contextlib.contextmanager
def _worker(driver: str, mode: str, url: str, directory: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "--work", driver, mode, url, directory]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise SystemExit(f"the worker for {driver} / {mode} did not start")
        yield process
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def _turn(worker: subprocess.Popen[str]) -> tuple[float, float]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    wall, cpu = worker.stdout.readline().split()
    return float(wall), float(cpu)


def _drain(directory: Path, stop: threading.Event) -> None:
    from poolctl.trace.drain import Drains

    drains = Drains(directory)
    while not stop.wait(0.1):
        drains.poll()
    drains.close()


def _has_opentelemetry() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.instrumentation.sqlalchemy") is not None
    except ModuleNotFoundError:
        return False


# In the worker.


def _work(driver: str, mode: str, url: str, directory: str) -> None:
    if mode == "debug log":
        handler = logging.FileHandler(f"{directory}/pool-{driver}.log")
        handler.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(process)d %(thread)d %(name)s %(message)s"))
        logging.getLogger("sqlalchemy.pool").addHandler(handler)
        logging.getLogger("sqlalchemy.pool").setLevel(logging.DEBUG)
    elif mode in ("capture", "not compiled"):
        if mode == "not compiled":
            sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
            import interpreted

            interpreted.use()
        from poolctl.trace.tail import COMPILED

        if COMPILED is not (mode == "capture"):
            raise SystemExit("capture is not compiled in this installation: leave `capture` out by --modes")
        from poolctl.capture import Recorder, install

        install(Recorder(Path(directory)))
    elif mode == "opentelemetry":
        _open_telemetry()
    if driver == "dummy":
        pair = _dummy_pair()
        for _ in range(WARM_UP * 10):
            pair()
        _take_turns(lambda count: _repeat(pair, count), PAIRS[driver])
    else:
        asyncio.run(_async_work(url, PAIRS[driver]))


def _dummy_pair() -> Callable[[], None]:
    from sqlalchemy.pool import QueuePool

    class Connection:
        def rollback(self) -> None: ...
        def close(self) -> None: ...

    pool = QueuePool(Connection, pool_size=5)
    from sqlalchemy.engine.default import DefaultDialect

    pool._dialect = DefaultDialect()

    def pair() -> None:
        pool.connect().close()

    return pair


def _repeat(pair: Callable[[], None], count: int) -> None:
    for _ in range(count):
        pair()


async def _async_work(url: str, count: int) -> None:
    import sqlalchemy
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    select = sqlalchemy.text("select 1")

    async def pair() -> None:
        async with engine.connect() as connection:
            await connection.execute(select)

    for _ in range(WARM_UP):
        await pair()
    print("ready", flush=True)
    while sys.stdin.readline():
        started, cpu = time.perf_counter_ns(), time.process_time_ns()
        for _ in range(count):
            await pair()
        ended, cpu_ended = time.perf_counter_ns(), time.process_time_ns()
        print((ended - started) / count, (cpu_ended - cpu) / count, flush=True)
    await engine.dispose()


def _take_turns(run: Callable[[int], None], count: int) -> None:
    print("ready", flush=True)
    while sys.stdin.readline():
        started, cpu = time.perf_counter_ns(), time.process_time_ns()
        run(count)
        print((time.perf_counter_ns() - started) / count, (time.process_time_ns() - cpu) / count, flush=True)


def _open_telemetry() -> None:
    from opentelemetry import trace
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

    class Null(SpanExporter):
        def export(self, spans):  # type: ignore[no-untyped-def]
            return None

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Null()))
    trace.set_tracer_provider(provider)
    SQLAlchemyInstrumentor().instrument(skip_dep_check=True)  # it knows 2.0 and works on 2.1


if __name__ == "__main__":
    main()
