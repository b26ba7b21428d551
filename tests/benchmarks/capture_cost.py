"""What capture costs: a checkout, `select 1`, checkin, with and without it, beside a DEBUG log and OpenTelemetry.

    python tests/benchmarks/capture_cost.py [--drivers dummy aiosqlite asyncpg] [--rounds 7]

Each mode runs in a process of its own (toggling wrappers in one process de-specialises bytecode and flatters nobody).
All processes of a driver live at once and take turns, a short chunk each, so that what else the machine does hits all
of them alike. A round is the median of its chunks; printed is the median over the rounds, and the ratio to `none` of
the same round. CPU time of the process is the steadier of the two clocks on a busy machine; a drain runs beside
`capture`, as it would in use.
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

MODES = ("none", "capture", "debug log", "opentelemetry")
PAIRS = {"dummy": 400, "aiosqlite": 60, "asyncpg": 60}
"""Operations in a chunk, by driver."""
WARM_UP = 1500


def main() -> None:
    """Measure every driver and print a table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drivers", nargs="*", default=list(PAIRS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--chunks", type=int, default=25)
    parser.add_argument("--modes", nargs="*", default=list(MODES))
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON document")
    parser.add_argument("--work", nargs=4, metavar=("DRIVER", "MODE", "URL", "DIRECTORY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        _work(*options.work)
        return
    modes = [mode for mode in options.modes if mode != "opentelemetry" or _has_opentelemetry()]
    results = {driver: _measure(driver, modes, options.rounds, options.chunks) for driver in options.drivers}
    if options.json:
        print(json.dumps(results, indent=1))
        return
    print(
        f"{'driver':<10} {'mode':<14} {'wall µs':>8} {'ratio':>7} {'CPU µs':>8} {'ratio':>7}   range of the CPU ratio"
    )
    for driver, figures in results.items():
        for mode in modes:
            row = figures[mode]
            print(
                f"{driver:<10} {mode:<14} {row['wall_us']:8.1f} {row['wall_ratio']:7.3f} {row['cpu_us']:8.1f} "
                f"{row['cpu_ratio']:7.3f}   {row['cpu_low']:.3f} – {row['cpu_high']:.3f}"
            )


def _measure(driver: str, modes: list[str], rounds: int, chunks: int) -> dict[str, dict[str, float]]:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        url = stack.enter_context(_database(driver, directory))
        workers = {mode: stack.enter_context(_worker(driver, mode, url, directory)) for mode in modes}
        stop = threading.Event()
        draining = threading.Thread(target=_drain, args=(Path(directory), stop))
        draining.start()
        stack.callback(draining.join)
        stack.callback(stop.set)
        seen: list[dict[str, list[tuple[float, float]]]] = []
        for _ in range(rounds):
            chunk: dict[str, list[tuple[float, float]]] = {mode: [] for mode in modes}
            for _ in range(chunks):
                for mode in random.sample(modes, len(modes)):
                    chunk[mode].append(_turn(workers[mode]))
            seen.append(chunk)
        return {mode: _figures(seen, mode) for mode in modes}


def _figures(rounds: list[dict[str, list[tuple[float, float]]]], mode: str) -> dict[str, float]:
    """Medians over the rounds of the medians over the chunks; a ratio is of two chunks of one turn."""

    def over_rounds(of: Callable[[tuple[float, float], tuple[float, float]], float]) -> list[float]:
        return [
            statistics.median(of(mine, base) for mine, base in zip(chunk[mode], chunk["none"], strict=True))
            for chunk in rounds
        ]

    cpu_ratios = over_rounds(lambda mine, base: mine[1] / base[1])
    return {
        "wall_us": statistics.median(over_rounds(lambda mine, _: mine[0])) / 1e3,
        "cpu_us": statistics.median(over_rounds(lambda mine, _: mine[1])) / 1e3,
        "wall_ratio": statistics.median(over_rounds(lambda mine, base: mine[0] / base[0])),
        "cpu_ratio": statistics.median(cpu_ratios),
        "cpu_low": min(cpu_ratios),
        "cpu_high": max(cpu_ratios),
    }


@contextlib.contextmanager
def _database(driver: str, directory: str) -> Iterator[str]:
    if driver == "asyncpg":
        from poolctl.target.embedded import EmbeddedPostgres

        with EmbeddedPostgres() as server:
            yield server.url
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
    elif mode == "capture":
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
    SQLAlchemyInstrumentor().instrument()


if __name__ == "__main__":
    main()
