"""Attach: into a live process and its Python children, and out again. They go on as if nobody had watched.

In: a process id and the run directory. Out: processes that capture, each of which says in `guests.txt` how far it came;
afterwards none that does, those included that were forked meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import psutil

import poolctl
from poolctl.errors import PoolctlError, TargetError
from poolctl.target.attach_pid import Foothold
from poolctl.target.process import Process, alive, look_at, refuse_unreachable
from poolctl.trace.names import read_names
from poolctl.trace.run import Run
from poolctl.watch.payload import source
from poolctl.watch.silence import advice

GUEST = Path(poolctl.__file__).resolve().parent / "capture" / "inject" / "poolctl_guest.py"
"""The first file that a live process loads."""


class Attach:
    """A way in (`watch.ways`)."""

    signals: tuple[int, ...] = ()

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._run: Run | None = None
        self._footholds: dict[int, Foothold] = {}
        self._left = False
        self.title = f"process {pid}"

    def enter(self, run: Run) -> None:
        """Have the process load the guest, and its children where they can be attached to."""
        process = look_at(self._pid)
        refuse_unreachable(process, GUEST, run.path)
        self._run = run
        self._let_in(process)
        for child in _children(self._pid):
            with contextlib.suppress(PoolctlError):  # a shell, another Python, another user: not what was asked for
                self._let_in(look_at(child))

    def forward(self, number: int) -> None:
        """Hand on nothing: the process is not ours."""

    def over(self) -> str | None:
        """Tell whether the process is gone."""
        return None if alive(self._pid) else f"process {self._pid} ended"

    def leave(self) -> None:
        """Have every guest go. Raises TargetError when a process does not let it."""
        failures: list[PoolctlError] = []
        if self._left:
            return
        self._left = True
        for pid in [*self._footholds, *self._forked()]:
            try:
                self._show_out(pid)
            except PoolctlError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def end(self) -> None:
        """Leave, if that was not done: something went wrong in between."""
        with contextlib.suppress(PoolctlError):
            self.leave()

    def silence(self, _: Run) -> PoolctlError:
        """Tell why there is nothing to see."""
        if not alive(self._pid):
            return TargetError(f"process {self._pid} ended", "give a process that goes on")
        return TargetError(
            f"process {self._pid} has not imported SQLAlchemy", "is it the one that serves requests? try another"
        )

    def _let_in(self, process: Process) -> None:
        assert self._run is not None  # noqa: S101 - entered
        pid = process.pid
        foothold = self._footholds[pid] = Foothold(process)
        there = ("capturing", "waiting", "problem")
        foothold.run(source("attach", GUEST, self._run.path), lambda: self._said(pid, there) != "" or not alive(pid))
        if problem := self._said(pid, ("problem",)):
            raise TargetError(f"capture could not begin in process {pid}: {problem}", advice(problem))

    def _show_out(self, pid: int) -> None:
        assert self._run is not None  # noqa: S101 - entered
        foothold = self._footholds.pop(pid, None)
        if alive(pid):
            foothold = foothold or Foothold(look_at(pid))
            foothold.run(
                source("detach", GUEST, self._run.path), lambda: self._said(pid, ("left",)) != "" or not alive(pid)
            )
        if foothold:
            foothold.leave()

    def _forked(self) -> Iterable[int]:
        """Return the processes that announced themselves without having been attached to."""
        if self._run is None:
            return []
        announced = [read_names(path)["process"].get(0, {}) for path in self._run.path.glob("names-*.jsonl")]
        return {int(entry["pid"]) for entry in announced if "pid" in entry} - self._footholds.keys()

    def _said(self, pid: int, events: tuple[str, ...]) -> str:
        """Return what a guest said last of these; empty when it said none."""
        assert self._run is not None  # noqa: S101 - entered
        lines = (self._run.path / "guests.txt").read_text().splitlines()
        said = [line.split(" ", 3) for line in lines if line.startswith(f"{pid} ")]
        return next((guest[-1] for guest in reversed(said) if len(guest) > 2 and guest[2] in events), "")


def _children(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []
