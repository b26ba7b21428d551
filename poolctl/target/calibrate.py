"""Calibration: what a connection costs here, by a handful of probes before the load begins.

In: a TargetSpec. Out: plain data for run.json: times of opening, what the first statement on a new connection costs
more than the next, time of closing; and, where nobody knows the server's cores, how many statements it runs side by
side at full speed. Reads nothing of the user's data, leaves nothing behind, and never fails a run: what cannot be seen
is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import statistics
import time
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from poolctl.target.engine import watch_engine
from poolctl.target.spec import TargetSpec

PROBES, LONGEST_S = 10, 1.5
"""Connections opened, and the time after which no further one is."""
FEWEST = 3
CROWDS = (1, 2, 4, 8)
"""Statements at once by which cores are looked for."""
STILL_GROWS = 1.25
"""Twice the statements bring at least so many times the throughput while there are cores for them."""
ROUNDS = 5
WORK = "SELECT count(*) FROM generate_series(1, 30000)"
"""A few milliseconds of CPU, no table."""
GIVE_UP_S = 10.0


def calibrate(spec: TargetSpec, cores: int | None) -> dict[str, Any] | None:
    """Return `{connect_s: […], cold_s, close_s, cores}`; `cores` are looked for only where they are not known.

    For a thread without a running event loop. None where the target cannot be probed.
    """
    try:
        return asyncio.run(_calibrate(spec, cores))
    except Exception:  # noqa: BLE001 - a probe that fails is a probe less: the run itself will say what is wrong
        return None


async def _calibrate(spec: TargetSpec, cores: int | None) -> dict[str, Any] | None:
    engine = await watch_engine(spec)
    try:
        async with asyncio.timeout(GIVE_UP_S):
            opened, cold, closed = await _probe(engine)
            if len(opened) < FEWEST:
                return None
            found = None
            if cores is None and engine.dialect.name == "postgresql":
                found = await _cores(engine)
        return {
            "connect_s": [round(each, 6) for each in opened],
            "cold_s": round(max(statistics.median(cold), 0.0), 6),
            "close_s": round(statistics.median(closed), 6),
            "cores": found,
        }
    finally:
        await engine.dispose()


async def _probe(engine: AsyncEngine) -> tuple[list[float], list[float], list[float]]:
    """Open, ask twice, close; the very first one also pays for what the dialect asks once, and does not count."""
    opened: list[float] = []
    cold: list[float] = []
    closed: list[float] = []
    give_up_at = time.monotonic() + LONGEST_S
    for number in range(PROBES + 1):
        times = [time.monotonic()]
        connection = await engine.connect()
        times.append(time.monotonic())
        for _ in range(2):
            await connection.execute(text("SELECT 1"))
            times.append(time.monotonic())
        await connection.close()
        times.append(time.monotonic())
        if number:
            connect, first, second, close = (after - before for before, after in itertools.pairwise(times))
            opened.append(connect)
            cold.append(first - second)
            closed.append(close)
        if time.monotonic() > give_up_at:
            break
    return opened, cold, closed


async def _cores(engine: AsyncEngine) -> float | None:
    """Return how many statements run side by side at full speed; None where there are more than were tried."""
    async with contextlib.AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(engine.connect()) for _ in range(max(CROWDS))]
        rates: list[float] = []
        for crowd in CROWDS:
            began = time.monotonic()
            await asyncio.gather(*(_work(connection) for connection in connections[:crowd]))
            rates.append(crowd * ROUNDS / (time.monotonic() - began))
            if len(rates) > 1 and rates[-1] < STILL_GROWS * rates[-2]:
                return float(max(1, math.floor(max(rates) / rates[0] + 0.5)))
    return None


async def _work(connection: AsyncConnection) -> None:
    for _ in range(ROUNDS):
        await connection.execute(text(WORK))
