"""The canary: a blocked event loop is told from one that has nothing to do, and it goes with capture."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from poolctl.analysis.records import split
from poolctl.capture import Recorder, canary, install
from poolctl.trace.drain import Drain
from poolctl.trace.events import Kind


@pytest.fixture(params=["the kernel's", "the loop's"])
def timer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A canary with the one and with the other timer."""
    if request.param == "the loop's":
        monkeypatch.setattr(canary, "_timer", lambda: None)


def lags_of(directory: Path, work: Any, field: str = "lag") -> list[float]:
    """Run work(installed) on a loop under capture; return the delays in seconds that were recorded."""
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
    return [float(each) / 1e9 for each in records[Kind.LAG][field]] if Kind.LAG in records else []


def test_a_loop_that_stands_still_tells_for_how_long(tmp_path: Path, timer: None) -> None:
    async def work(_: Any) -> None:
        await asyncio.sleep(0.15)
        time.sleep(0.5)  # what must not be done
        await asyncio.sleep(0.15)

    assert max(lags_of(tmp_path, work)) == pytest.approx(0.45, abs=0.25)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be bound to a processor")
def test_a_loop_whose_thread_shares_its_processor_tells_for_how_long_it_had_none(tmp_path: Path, timer: None) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])

    async def work(_: Any) -> None:
        await asyncio.sleep(0.5)
        until = time.thread_time() + 0.4
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0.15)

    try:
        queued = lags_of(tmp_path, work, "queued")
    finally:
        rival.kill()
        rival.wait()
        os.sched_setaffinity(0, before)
    assert sum(queued) > 0.1, "of about 0.4 s"


def test_a_loop_that_has_nothing_to_do_is_not_late(tmp_path: Path, timer: None) -> None:
    async def work(_: Any) -> None:
        await asyncio.sleep(0.6)

    assert max(lags_of(tmp_path, work), default=0.0) < 0.4


def timers(loop: Any) -> list[str]:
    """Return what is left of a canary: a timer of the loop's, or the kernel's."""
    links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return [repr(timer) for timer in loop._scheduled if "Canary" in repr(timer)] + [
        link for link in links if link == canary._TIMER_LINK
    ]


def test_no_timer_is_left_after_capture(tmp_path: Path, timer: None) -> None:
    async def work(installed: Any) -> None:
        loop = asyncio.get_running_loop()
        assert len(timers(loop)) == 1
        installed.remove()
        until = time.monotonic() + 20
        while timers(loop) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        assert timers(loop) == []
        assert not loop.remove_reader(os.open(os.devnull, os.O_RDONLY))  # nothing of ours reads what gets the number

    lags_of(tmp_path, work)


def test_a_loop_that_ends_before_capture_leaves_no_timer(tmp_path: Path) -> None:
    async def work(_: Any) -> None:
        assert len(timers(asyncio.get_running_loop())) == 1

    lags_of(tmp_path, work)
    gc.collect()
    assert timers(SimpleNamespace(_scheduled=())) == []


def test_an_application_that_closes_the_timer_keeps_what_gets_its_number(tmp_path: Path) -> None:
    async def work(installed: Any) -> None:
        (number,) = (
            int(path.name)
            for path in Path("/proc/self/fd").iterdir()
            if path.is_symlink() and str(path.readlink()) == canary._TIMER_LINK
        )
        asyncio.get_running_loop().remove_reader(number)
        os.close(number)
        theirs = os.open(os.devnull, os.O_RDONLY)
        assert theirs == number
        installed.remove()
        kept.append(theirs)

    kept: list[int] = []
    lags_of(tmp_path, work)
    gc.collect()
    os.close(kept[0])  # raises if it is closed already
