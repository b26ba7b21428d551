"""The cores of this machine: what the kernel and the container allow, whichever is less."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from poolctl.target.machine import CpuTimes, cores, cpu_times

ALLOWED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("max 100000", ALLOWED),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("100000000 100000", ALLOWED),
        ("150000 100000", min(2, ALLOWED)),
        ("nonsense", ALLOWED),
        ("1 0", ALLOWED),
    ],
)
def test_a_containers_quota_caps_the_cores(tmp_path: Path, said: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(said)
    assert cores(tmp_path / "cpu.max") == expected


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert cores(tmp_path / "nowhere") == ALLOWED


def test_the_cores_used_are_the_time_spent_over_the_time_that_passed() -> None:
    used = CpuTimes(12.0, 103.0, 9.0, 31.0).since(CpuTimes(10.0, 100.0, 8.0, 30.0))
    assert used == {"cores_busy": 1.5, "cores_ours": 0.5, "cores_server": 0.5}
    assert CpuTimes(10.0, 1.0, 1.0, 1.0).since(CpuTimes(10.0, 1.0, 1.0, 1.0)) is None


def test_our_own_work_is_counted_as_ours_and_within_everybodys() -> None:
    before = cpu_times()
    if cores() != os.cpu_count():  # the machine's other cores say nothing about ours
        assert before is None
        return
    spent = time.process_time() + 0.3
    while time.process_time() < spent:
        pass
    after = cpu_times()
    assert before is not None
    assert after is not None
    assert after.ours - before.ours >= 0.2
    assert after.everybody - before.everybody >= 0.2
