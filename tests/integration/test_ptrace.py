"""Ptrace: functions called inside another process, which notices nothing."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolctl.errors import TargetError
from poolctl.target.elf import Elf
from poolctl.target.ptrace import Stopped, while_stopped

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="attaching is for x86-64 Linux"
)

FLOATS = """
import math, sys
values = [1 / (n + 1) for n in range(20_000)]
expected = math.fsum(values)
print("going", flush=True)
while True:
    if math.fsum(values) != expected:
        sys.exit("the sum has changed")
"""
"""Nearly all its time is spent in a loop that keeps floats in vector registers."""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", FLOATS], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def function_of(pid: int, library: str, name: str) -> int:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        where, _, offset, _, _, path = [*line.split(None, 5), ""][:6]
        if library in path and offset == "00000000":
            elf = Elf(Path(path))
            return elf.symbols(frozenset({name}))[name] + elf.load_bias(int(where.partition("-")[0], 16))
    raise LookupError(library)


def test_what_is_computed_in_vector_registers_survives(busy: subprocess.Popen[bytes]) -> None:
    clobber = function_of(busy.pid, "/libm.so", "ldexp")
    for _ in range(150):
        while_stopped(busy.pid, lambda stopped: stopped.call(clobber, 3))
        time.sleep(0.002)
    assert busy.poll() is None


def test_a_call_that_does_not_come_back_is_broken_off_and_the_process_goes_on(busy: subprocess.Popen[bytes]) -> None:
    pause = function_of(busy.pid, "/libc.so", "pause")
    for _ in range(3):
        with pytest.raises(TargetError, match="did not answer in"):
            while_stopped(busy.pid, lambda stopped: stopped.call(pause, limit_s=0.2))
    time.sleep(0.3)
    assert busy.poll() is None


def test_a_call_that_crashes_is_told_and_the_process_goes_on(busy: subprocess.Popen[bytes]) -> None:
    with pytest.raises(TargetError, match="failed"):
        while_stopped(busy.pid, lambda stopped: stopped.call(0x10))
    time.sleep(0.3)
    assert busy.poll() is None


def test_memory_is_mapped_written_and_given_back(busy: subprocess.Popen[bytes]) -> None:
    atoi = function_of(busy.pid, "/libc.so", "atoi")
    maps = Path(f"/proc/{busy.pid}/maps")
    before = len(maps.read_text().splitlines())

    def read_number(stopped: Stopped) -> int:
        page = stopped.map_page()
        stopped.write(page, b"4711\0")
        number = stopped.call(atoi, page)
        stopped.unmap_page(page)
        return number

    assert [while_stopped(busy.pid, read_number) for _ in range(5)] == [4711] * 5
    assert abs(len(maps.read_text().splitlines()) - before) <= 1
    assert busy.poll() is None


def test_an_error_on_the_way_leaves_the_process_running(busy: subprocess.Popen[bytes]) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("mine")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="mine"):
            while_stopped(busy.pid, fail)
    status = Path(f"/proc/{busy.pid}/status").read_text()
    assert "TracerPid:\t0\n" in status
    assert "SigBlk:\t0000000000000000" in status
    assert "State:\tR" in status


def test_nobody_is_there(busy: subprocess.Popen[bytes]) -> None:
    busy.kill()
    busy.wait()
    with pytest.raises(ProcessLookupError):
        while_stopped(busy.pid, lambda _: None)
