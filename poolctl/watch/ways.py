"""Ways in: how capture gets into what is to be watched, and how it leaves.

In: a WatchPlan and the run directory. Out: processes that announce themselves there, the reason when there is nothing
left to watch, and when nobody ever announced himself, one clear line about it. Knows nothing of rings and records.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import poolctl
from poolctl.errors import PoolctlError, TargetError
from poolctl.target.launch import FORWARDED, Command
from poolctl.trace.run import Run
from poolctl.watch.attach import Attach
from poolctl.watch.plan import WatchPlan
from poolctl.watch.silence import explain_silence

INJECT = Path(poolctl.__file__).resolve().parent / "capture" / "inject"
"""The directory that is put before a command's PYTHONPATH."""


class Way(Protocol):
    """A way in."""

    signals: tuple[int, ...]
    """Signals to hand on through `forward`."""
    title: str
    """What is watched, in a few words."""

    def enter(self, run: Run) -> None:
        """Get capture in. Raises PoolctlError."""

    def forward(self, number: int) -> None:
        """Hand a signal on."""

    def over(self) -> str | None:
        """Return why there is nothing more to watch; None while there is."""

    def leave(self) -> None:
        """Take capture out, before the last records are read."""

    def end(self) -> None:
        """Put away what poolctl started, after the last records were read. Also called when `enter` failed."""

    def silence(self, run: Run, /) -> PoolctlError:
        """Return why no process announced itself, as far as can be told."""


class Launch:
    """A command of poolctl's own making: at the end of the window it is ended, unless it ended by itself."""

    signals: tuple[int, ...] = FORWARDED

    def __init__(self, arguments: tuple[str, ...]) -> None:
        self._arguments = arguments
        self._command: Command | None = None
        self.title = " ".join(arguments)

    def enter(self, run: Run) -> None:
        """Start the command."""
        self._command = Command(self._arguments, inject=INJECT, run_dir=run.path)
        self.title = self._command.name

    def forward(self, number: int) -> None:
        """Hand a signal on to the command."""
        if self._command is not None:
            self._command.forward(number)

    def over(self) -> str | None:
        """Tell whether the command ended by itself."""
        command = self._command
        return None if command is None or command.code is None else f"the command {command.describe_end()}"

    def leave(self) -> None:
        """Leave the hooks: the processes end now anyway."""

    def end(self) -> None:
        """End the command and its processes."""
        if self._command is not None:
            self._command.stop()

    def silence(self, run: Run) -> PoolctlError:
        """Look into guests.txt and at the command's processes."""
        assert self._command is not None  # noqa: S101 - entered
        return explain_silence(self._command, run)


class Announced:
    """Processes that capture for whoever comes: those that called `poolctl.attach`, or have the plugin in their URL."""

    signals: tuple[int, ...] = ()

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.title = f"what announced itself in {directory}"

    def enter(self, _: Run) -> None:
        """Nothing to do: they are there, or they come."""

    def forward(self, number: int) -> None:
        """Hand on nothing: the processes are not ours."""

    def over(self) -> str | None:
        """Go on: others may come."""
        return None

    def leave(self) -> None:
        """Leave them as they are."""

    def end(self) -> None:
        """Nothing was started."""

    def silence(self, _: Run) -> PoolctlError:
        """Tell where nobody is."""
        return TargetError(
            f"no process announced itself in {self.directory}",
            "call poolctl.attach() in one, or use `-- COMMAND` or --pid PID",
        )


def way_of(plan: WatchPlan) -> Way:
    """Return the plan's way in."""
    if plan.command:
        return Launch(plan.command)
    return Announced(plan.announced) if plan.pid is None else Attach(plan.pid)
