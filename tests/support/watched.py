"""An application watched together with its server and its proxy, until the samples show what a test waits for.

In: what `apps/neighbour.py` is to do, the plan's server, proxy and log. Out: the Report.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from poolctl.analysis.summary import analyse
from poolctl.config import Settings
from poolctl.policy import Policy
from poolctl.target.spec import TargetSpec
from poolctl.trace.report import Finding, Report
from poolctl.watch.plan import WatchPlan
from poolctl.watch.session import observe

APP = Path(__file__).parent / "apps" / "neighbour.py"
PATIENCE_S = 90.0
WINDOW_S = 120.0

Lines = list[dict[str, Any]]


class Watched:
    """One application under watch; `until` waits on the samples that are written meanwhile."""

    def __init__(self, directory: Path) -> None:
        self.runs = directory / "runs"
        self._stop = directory / "stop"
        self._over = False

    def lines(self, file: str) -> Lines:
        """What was written to a file of the run so far."""
        found = list(self.runs.glob(f"*/{file}"))
        text = found[0].read_text() if found else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def until(self, file: str, enough: Callable[[Lines], bool]) -> None:
        """Wait until the lines of a file are enough."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not enough(self.lines(file)):
            assert time.monotonic() < give_up_at, self.lines(file)[-3:]
            assert not self._over, "the application ended"
            time.sleep(0.05)

    def report(
        self,
        what: str,
        url: str,
        script: Callable[[Watched], None] | None = None,
        *,
        engine: dict[str, Any] | None = None,
        server: str | None = None,
        policy: Policy | None = None,
        environment: dict[str, str] | None = None,
        **plan: Any,
    ) -> Report:
        """Run the application, do what the script says meanwhile, stop it, and return the report of the window.

        Without a script it ends by itself.
        """
        told = {"DATABASE_URL": url, "STOP": str(self._stop), "ENGINE": json.dumps(engine or {}), **(environment or {})}
        failed: list[BaseException] = []

        def direct() -> None:
            try:
                if script is None:
                    return
                script(self)
            except BaseException as error:  # noqa: BLE001 - raised by the test
                failed.append(error)
            self._stop.touch()

        director = threading.Thread(target=direct)
        before = {key: os.environ.get(key) for key in told}
        os.environ.update(told)
        try:
            director.start()
            run = observe(
                WatchPlan(
                    command=(sys.executable, str(APP), what),
                    seconds=WINDOW_S,
                    server=TargetSpec(url=server) if server else None,
                    runs_dir=self.runs,
                    **plan,
                )
            )
        finally:
            self._over = True
            self._stop.touch()
            director.join()
            for key, value in before.items():
                os.environ.pop(key) if value is None else os.environ.update({key: value})
        if failed:
            raise failed[0]
        return analyse(run, Settings(policy=policy or Policy()))


def found(report: Report, code: str) -> Finding | None:
    """The finding of a rule."""
    return next((finding for finding in report.findings if finding.code == code), None)
