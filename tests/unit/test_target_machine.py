"""The cores of this machine: what the kernel and the container allow, whichever is less."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from poolctl.target.machine import cores

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
