"""WatchPlan: one window of watching, as it was asked for; and what `run.json` says about it.

In: the command's choices. Out: a frozen record, and plain facts without secrets. Runs nothing.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poolctl import __version__
from poolctl.errors import UsageError
from poolctl.redact import redact
from poolctl.target.spec import TargetSpec
from poolctl.trace.run import ANNOUNCED, DEFAULT_ROOT

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What to watch, by one way in, and for how long. Without any: what announced itself.

    Raises UsageError for what cannot work.
    """

    command: tuple[str, ...] = ()
    """Run this under capture, with all its Python processes."""
    pid: int | None = None
    """Attach to this live process."""
    seconds: float = WINDOW_S
    """Length of the window; it begins when the first process announces itself."""
    server: TargetSpec | None = None
    """The database to look at meanwhile, where its URL is known."""
    proxy: str | None = field(default=None, repr=False)
    """URL of the pooler's admin console, to look at it meanwhile."""
    proxy_log: Path | None = None
    """The pooler's log: what it writes in the window."""
    objectives: tuple[str, ...] = ()
    """Unparsed."""
    runs_dir: Path = DEFAULT_ROOT
    announced_in: Path | None = None
    """Where processes announced themselves that capture for whoever comes; None: beside the runs."""

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise UsageError(f"window {self.seconds:g} s: must be more than 0", "write it as 60s or 5m")
        if self.pid is not None and self.command:
            raise UsageError("a command and --pid are two things to watch", "give one of them")

    @property
    def announced(self) -> Path:
        """Where to look without a command and a pid."""
        return self.announced_in or self.runs_dir / ANNOUNCED

    @property
    def way(self) -> str:
        """The way in, in a word: launch, attach, or announced (processes that captured themselves already)."""
        return "launch" if self.command else "attach" if self.pid is not None else "announced"


def facts(plan: WatchPlan) -> dict[str, Any]:
    """Return what `run.json` says before the window begins (keys: `trace.run`)."""
    return {
        "command": "diagnose",
        "scenario": None,
        "seed": None,
        "way": plan.way,
        "duration_s": plan.seconds,
        "objectives": list(plan.objectives),
        "shown_target": plan.server.shown if plan.server else None,
        "shown_proxy": redact(plan.proxy) if plan.proxy else None,
        "versions": {"poolctl": __version__, "python": platform.python_version()},
        "machine": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
    }
