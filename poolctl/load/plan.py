"""LoadPlan: one load run, as it was asked for; and what `run.json` says about it.

In: the command's choices. Out: a frozen record, and plain facts without secrets. Runs nothing.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from poolctl import __version__
from poolctl.errors import UsageError
from poolctl.load.arrivals import Closed
from poolctl.load.find import Found
from poolctl.load.loop import loop_kind
from poolctl.load.tape import ClosedTape, OpenTape, draw
from poolctl.target.spec import TargetSpec
from poolctl.trace.run import DEFAULT_ROOT
from poolctl.units import parse_duration

DRAIN_S = 5.0
"""How long operations that are in flight at the end may take before they are cancelled."""

PACKAGES = ("SQLAlchemy", "asyncpg", "locust", "gevent", "uvloop")


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load run to make. Raises UsageError for a number that cannot work."""

    found: Found
    target: TargetSpec
    seed: int
    duration_s: float | None = None
    """None: the scenario's."""
    rate: float | None = None
    """Arrivals per second, over a whole cycle; None: the scenario's."""
    processes: int = 1
    objectives: tuple[str, ...] | None = None
    """None: the scenario's."""
    runs_dir: Path = DEFAULT_ROOT
    loop: str | None = None
    """uvloop or asyncio; None: uvloop where it is installed."""
    drain_s: float = DRAIN_S
    command: str = "loadtest"
    part_of: str | None = None
    """The id of the run whose prediction this one proves: `last` does not mean it."""

    def __post_init__(self) -> None:
        if self.duration_s is not None and self.duration_s <= 0:
            raise UsageError(f"duration {self.duration_s:g} s: must be more than 0", "write it as 30s or 5m")
        if self.rate is not None and self.rate <= 0:
            raise UsageError(f"rate {self.rate:g}/s: must be more than 0", "write it as 50/s")
        if self.processes < 1:
            raise UsageError(f"processes {self.processes}: must be 1 or more", "give 1 or more")
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"seed {self.seed}: must be a whole number from 0 to 2^64 − 1", "give another seed")
        loop_kind(self.loop)

    @property
    def seconds(self) -> float:
        """How long work arrives."""
        if self.duration_s is not None:
            return self.duration_s
        return parse_duration(self.found.scenario.duration, f"{self.found.scenario.__name__}.duration")

    @property
    def goals(self) -> tuple[str, ...]:
        """The objectives that hold for the run, unparsed."""
        return tuple(self.found.scenario.objectives) if self.objectives is None else self.objectives


def facts(plan: LoadPlan) -> dict[str, Any]:
    """Draw the tape and return what `run.json` says before the load begins (keys: `trace.run`).

    The tape is not kept: the workers draw their own, and the digest tells whether it is the same.
    """
    scenario = plan.found.scenario
    tape = draw(scenario, plan.seed, plan.seconds, plan.rate)
    return {
        "command": plan.command,
        "scenario": plan.found.name,
        "source": {
            "file": str(plan.found.path),
            "sha256": plan.found.digest,
            "class": scenario.__name__,
            "arrivals": str(scenario.arrivals),
            "transactions": {one.name: one.weight for one in scenario.transactions},
        },
        "seed": plan.seed,
        "tape": tape.digest(),
        "duration_s": plan.seconds,
        "rate": plan.rate,
        "processes": plan.processes,
        "objectives": list(plan.goals),
        **({"part_of": plan.part_of} if plan.part_of else {}),
        "think_in_hold": any(one.thinks for one in scenario.transactions),
        "load": {**_offered(tape), "duration_s": plan.seconds},
        "settings": {"loop": loop_kind(plan.loop), "drain_s": plan.drain_s},
        "shown_target": plan.target.shown,
        "versions": _versions(),
        "machine": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
    }


def _offered(tape: OpenTape | ClosedTape) -> dict[str, Any]:
    if isinstance(tape, OpenTape):
        return {"model": "open", "offered_per_s": tape.offered_per_s, "arrivals": len(tape), "clients": None}
    return {"model": "closed", "offered_per_s": None, "arrivals": None, "clients": tape.model.clients}


def _cycle_s(plan: LoadPlan) -> float:
    """Return the seconds that a run must last to see all that the scenario's arrivals do."""
    arrivals = plan.found.scenario.arrivals
    if isinstance(arrivals, Closed):
        return 0.0
    return (arrivals if plan.rate is None else arrivals.at_rate(plan.rate)).cycle_s


def _versions() -> dict[str, str]:
    found = {"poolctl": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package.lower()] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
