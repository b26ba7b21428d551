"""Worker processes, seen from the control process.

In: orders. Out: running workers, their answers, the reason when one ended. Threads read their pipes, so that a worker
that says much never stops. Knows nothing of locust.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, Any

from poolctl.errors import PoolctlError
from poolctl.load import bootstrap
from poolctl.load.orders import Order, failure_from

PACKAGES = str(Path(__file__).parents[2])


class WorkerProcess:
    """One worker, from start to end."""

    def __init__(self, order: Order, number: int) -> None:
        self.number = number
        """From 1, for people."""
        self.target: dict[str, Any] | None = None
        """The facts of its target (TargetInfo as plain data) once it is ready."""
        self.failed: PoolctlError | None = None
        """Why it gave up, if it did."""
        self.done: dict[str, Any] | None = None
        """Its last answer, once the load is over."""
        # -P: nothing in the user's directory may shadow a module; the package itself must be found all the same.
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), PACKAGES]))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "poolctl.load.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, bootstrap.UNPATCHED: "1", "PYTHONPATH": path},
            start_new_session=True,
        )
        self._said: deque[str] = deque(maxlen=50)
        self._readers = [
            threading.Thread(target=self._read_answers, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_words, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self._tell(order.to_line())

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def describe_end(self) -> str:
        """Return in a sentence how it ended, with its last words."""
        code = self._process.poll()
        how = f"ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"
        words = next((line for line in reversed(self._said) if line.strip()), "")
        return f"worker {self.number} (process {self.pid}) {how}" + (f": {words.strip()[:300]}" if words else "")

    def stop(self, wait_s: float) -> None:
        """Wait for its end, then make it end: first by closing its pipe, then by force."""
        for limit_s, push in ((wait_s, self._hang_up), (2.0, self._process.kill), (5.0, None)):
            try:
                self._process.wait(limit_s)
                break
            except subprocess.TimeoutExpired:
                if push is not None:
                    push()
        self._hang_up()
        for reader in self._readers:
            reader.join(1.0)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended already, and `ended` tells

    def _hang_up(self) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except BrokenPipeError:
            pass

    def _read_answers(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            answer = json.loads(line)
            if answer["kind"] == "ready":
                self.target = answer["target"]
            elif answer["kind"] == "failed":
                self.failed = failure_from(answer)
            else:
                self.done = answer

    def _read_words(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self._said.append(line.decode(errors="replace").rstrip())
