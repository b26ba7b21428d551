"""Launch: run a command so that every Python process it becomes captures itself.

In: a command, the directory to put before its PYTHONPATH, the run directory its processes announce themselves in. Out:
a running command whose standard output and error are what they would have been. It has a process group of its own:
a Ctrl-C in the terminal ends the window first, and the command when all is read. Knows nothing of rings.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from poolctl.clock import NS, monotonic_ns
from poolctl.errors import UsageError

RUN_DIR = "POOLCTL_RUN_DIR"
"""Tells a process where to announce itself."""

POLITE_S = 10.0
"""How long the command may take to end after SIGTERM, before it is killed."""

LOOK_S = 0.05

FORWARDED = (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
"""Signals that mean nothing to poolctl and perhaps something to the command."""


class Command:
    """A running command. Raises UsageError when it cannot be started."""

    def __init__(self, arguments: Sequence[str], *, inject: Path, run_dir: Path) -> None:
        self.arguments = tuple(arguments)
        path = os.pathsep.join(filter(None, [str(inject), os.environ.get("PYTHONPATH")]))
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                self.arguments,
                stdin=_input(),
                env={**os.environ, "PYTHONPATH": path, RUN_DIR: str(run_dir.absolute())},
                process_group=0,
            )
        except FileNotFoundError as error:
            missing = error.filename or self.arguments[0]
            raise UsageError(f"cannot run {missing}: no such command", "is its environment active?") from None
        except OSError as error:
            raise UsageError(f"cannot run {self.arguments[0]}: {error.strerror}", "give a program to run") from None

    @property
    def pid(self) -> int:
        """Process id of the command itself."""
        return self._process.pid

    @property
    def name(self) -> str:
        """The command in a few words."""
        words = " ".join(self.arguments)
        return words if len(words) <= 60 else f"{words[:57]}…"

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def describe_end(self) -> str:
        """Return in a few words how it ended."""
        code = self.code
        if code is None:
            return "is still running"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

    def forward(self, number: int) -> None:
        """Hand a signal on to the command."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def stop(self, polite_s: float = POLITE_S) -> None:
        """End the command and what is left of its process group: SIGTERM to all, SIGKILL to who is there later."""
        for number, wait_s in ((signal.SIGTERM, polite_s), (signal.SIGKILL, 5.0)):
            give_up_at = monotonic_ns() + int(wait_s * NS)
            alive = self._signal_group(number)
            while alive and monotonic_ns() < give_up_at:
                self._process.poll()  # reaps it: a dead leader still counts as a member of its group
                alive = self._signal_group(0)
                time.sleep(LOOK_S)

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # nobody left; the pid itself is ours until it was waited for
            return False
        return True


def _input() -> int | None:
    """A terminal belongs to poolctl: reading from it, a process in another group would only be stopped."""
    return subprocess.DEVNULL if sys.stdin is None or sys.stdin.isatty() else None
