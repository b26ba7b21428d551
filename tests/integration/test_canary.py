"""The canary: a blocked event loop is told from one that has nothing to do, and it goes with capture."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from poolctl.analysis.records import split
from poolctl.capture import Recorder, install
from poolctl.trace.drain import Drain
from poolctl.trace.events import Kind


def lags_of(directory: Path, work: Any) -> list[float]:
    """Run work(engine, installed) on a loop under capture; return the delays in seconds that were recorded."""
    recorder = Recorder(directory)
    installed = install(recorder)
    drain = Drain(recorder.names_path)

    async def main() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{directory}/data.sqlite")
        async with engine.connect():
            pass
        await work(installed)
        await engine.dispose()

    try:
        asyncio.run(main())
        records = split(drain.poll())
    finally:
        installed.remove()
        recorder.close()
        drain.close()
    return [float(lag) / 1e9 for lag in records[Kind.LAG]["lag"]] if Kind.LAG in records else []


def test_a_loop_that_stands_still_tells_for_how_long(tmp_path: Path) -> None:
    async def work(_: Any) -> None:
        await asyncio.sleep(0.15)
        time.sleep(0.5)  # what must not be done
        await asyncio.sleep(0.15)

    assert max(lags_of(tmp_path, work)) == pytest.approx(0.45, abs=0.25)


def test_a_loop_that_has_nothing_to_do_is_not_late(tmp_path: Path) -> None:
    async def work(_: Any) -> None:
        await asyncio.sleep(0.6)

    assert max(lags_of(tmp_path, work), default=0.0) < 0.4


def test_no_timer_is_left_after_capture(tmp_path: Path) -> None:
    left: list[str] = []

    async def work(installed: Any) -> None:
        loop: Any = asyncio.get_running_loop()
        assert "Canary" in repr(loop._scheduled)
        installed.remove()
        until = time.monotonic() + 20
        while "Canary" in repr(loop._scheduled) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        left.append(repr(loop._scheduled))

    lags_of(tmp_path, work)
    assert "Canary" not in left[0]
