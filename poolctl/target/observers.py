"""Observers: what poolctl does while a run is recorded, on native threads: drain the rings, ask the server.

In: a run's directory; a target. Out: event files, `server.jsonl` and `proxy.jsonl`, the records for the live view, and
the reason to stop when the disk is full or the server is gone. Knows nothing of what makes the load.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from poolctl.clock import monotonic_ns
from poolctl.errors import OutputError, PoolctlError, TargetError
from poolctl.target.processes import Looks, Stillness
from poolctl.target.server import ServerWatch
from poolctl.trace.deltas import DeltaLog
from poolctl.trace.drain import Drain, Drains
from poolctl.trace.run import output_error

DRAIN_S = 0.1
SERVER_S = 1.0
PROCESSES_S = 0.1


class _Repeated:
    """Calls `step` every so often on a thread of its own until it is closed, or the step raises."""

    def __init__(self, name: str, every_s: float) -> None:
        self.failure: PoolctlError | None = None
        """Why it stopped by itself."""
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def step(self) -> None:
        """What is done every time."""
        raise NotImplementedError

    def halt(self, wait_s: float) -> None:
        """Do no further step."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.step()
            except PoolctlError as error:
                self.failure = error
                return


class RingDrainer(_Repeated):
    """Drains every ring of the run; `feed` gets the new records, on this thread.

    `announced`: where processes announced themselves, when that is not the run's directory.
    """

    def __init__(self, directory: Path, feed: Callable[[bytes], None], announced: Path | None = None) -> None:
        super().__init__("poolctl-drain", DRAIN_S)
        self._drains = Drains(directory) if announced is None else Drains(announced, directory)
        self._feed = feed
        self._deltas = DeltaLog()
        self._closed = False

    @property
    def dropped(self) -> int:
        """Records lost so far."""
        return self._drains.dropped

    @property
    def pids(self) -> list[int]:
        """The processes that announced themselves so far, those that are gone included."""
        return self._drains.pids

    @property
    def began(self) -> tuple[int, int] | None:
        """When the first process began to capture, as (monotonic ns, wall ns); None before."""
        return self._drains.began

    def step(self) -> None:
        """Drain once."""
        self._tell(self._drains.poll())

    def close(self) -> None:
        """Drain what is left and remove the rings; does nothing the second time. Raises OutputError."""
        if self._closed:
            return
        self._closed = True
        self.halt(5.0)
        self._tell(self._drains.close())

    def _tell(self, polled: list[tuple[Drain, bytes]]) -> None:
        for drain, records in polled:
            self._feed(records)
            self._deltas.feed(drain.names_path, records)


class SampleObserver(_Repeated):
    """Writes what `ask` returns to a file, one line a second. A target that is gone is a line too: `at_ns`, `gone`."""

    def __init__(self, name: str, ask: Callable[[], dict[str, Any] | None], path: Path) -> None:
        super().__init__(name, SERVER_S)
        self._ask = ask
        self._path = path

    def step(self) -> None:
        """Ask once."""
        try:
            sample = self._ask()
        except TargetError as error:
            self.write({"at_ns": monotonic_ns(), "gone": error.message})
            raise
        if sample is not None:
            self.write(sample)

    def write(self, sample: dict[str, Any]) -> None:
        """Append one line. Raises OutputError."""
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(sample) + "\n")
        except OSError as error:
            raise output_error(self._path, error) from None

    @property
    def unwritable(self) -> OutputError | None:
        """The full disk, if that is why it stopped."""
        return self.failure if isinstance(self.failure, OutputError) else None


class EnduringObserver(SampleObserver):
    """The same, and a target that is gone is asked again: it may be the very thing that is looked for."""

    def step(self) -> None:
        """Ask once."""
        with contextlib.suppress(TargetError):
            super().step()


class ServerObserver(SampleObserver):
    """Writes a sample of the server to `server.jsonl` once a second; fails when the server is lost."""

    def __init__(self, watch: ServerWatch, path: Path) -> None:
        super().__init__("poolctl-server", watch.sample, path)

    @property
    def lost(self) -> TargetError | None:
        """The loss of the server, if that is why it stopped."""
        return self.failure if isinstance(self.failure, TargetError) else None


class ProcessObserver(_Repeated):
    """Writes to `processes.jsonl`, twice a second, how busy the interpreters of the watched processes are.

    And to `machine.jsonl` when the machine stood still.
    """

    def __init__(self, pids: Callable[[], list[int]], directory: Path) -> None:
        super().__init__("poolctl-processes", PROCESSES_S)
        self._pids = pids
        self._directory = directory
        self._looks = Looks()
        self._stillness = Stillness()

    def step(self) -> None:
        """Look once."""
        stood = self._stillness.look(PROCESSES_S)
        self._add("machine.jsonl", [stood] if stood else [])
        self._add("processes.jsonl", self._looks.look(self._pids()))

    def _add(self, name: str, lines: list[dict[str, Any]]) -> None:
        """Append to a file of the run. A full disk is nothing to stop for here: the drainer says so."""
        if lines:
            with contextlib.suppress(OSError), (self._directory / name).open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
