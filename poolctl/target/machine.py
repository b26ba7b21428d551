"""This machine: what a server on it can use, and who used it meanwhile.

In: nothing. Out: the number of cores that the kernel lets our processes have; the CPU time spent by everybody, by us,
and by database servers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from poolctl.clock import NS, monotonic_ns

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


SERVERS = ("postgres", "postmaster", "mysqld", "mariadbd")
"""Names of processes that are database servers."""
COUNTED = ("user", "nice", "system", "irq", "softirq", "steal")
"""What of the machine's CPU time nobody else can have; steal is the hypervisor's."""


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU time spent so far, in seconds."""

    at_s: float
    everybody: float
    ours: float
    """By this process and those below it, database servers excepted."""
    servers: float
    """By database servers on this machine, backends that are gone included."""

    def since(self, before: CpuTimes) -> dict[str, float] | None:
        """Return the mean number of cores used since then, as run.json keeps it (`cpu`)."""
        span = self.at_s - before.at_s
        if span <= 0:
            return None
        return {
            "cores_busy": max(self.everybody - before.everybody, 0.0) / span,
            "cores_ours": max(self.ours - before.ours, 0.0) / span,
            "cores_server": max(self.servers - before.servers, 0.0) / span,
        }


def cpu_times() -> CpuTimes | None:
    """Return the CPU times spent so far; None where they cannot be seen, or tell of more than our share of a machine.

    It looks at every process: some ten milliseconds of CPU.
    """
    if cores() != os.cpu_count():
        return None  # a container's quota: the machine's other cores say nothing about ours
    try:
        machine = psutil.cpu_times()
        own = psutil.Process()
        mine = {process.pid: process for process in (own, *own.children(recursive=True))}
        ours = servers = 0.0
        for process in psutil.process_iter(["name", "cpu_times"]):
            times = process.info["cpu_times"]
            if times is None:
                continue
            if process.info["name"] in SERVERS:
                servers += sum(times[:4])  # user and system, of itself and of its children that are gone
            elif process.pid in mine:
                ours += sum(times[:2])
    except (psutil.Error, OSError):
        return None
    return CpuTimes(monotonic_ns() / NS, sum(getattr(machine, name, 0.0) for name in COUNTED), ours, servers)
