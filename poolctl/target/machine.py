"""This machine: what a server on it can use.

In: nothing. Out: the number of cores that the kernel lets our processes have.
"""

from __future__ import annotations

import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""Quota and period in microseconds, or `max` and the period (cgroup v2; in a container it is the container's)."""


def cores(limit: Path = CGROUP_LIMIT) -> int:
    """Return the cores that may be used: the affinity of this process, capped by the container's quota (rounded up)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limit.read_text().split()
        return max(1, min(allowed, -(-int(quota) // int(period))))
    except (OSError, ValueError, ZeroDivisionError):
        return allowed
