"""Stint: load runs on demand, one after another, in one process. The child of `poolctl compare --ab`.

In: a line of JSON a run on stdin: the arguments of `poolctl loadtest`, as a URL among them may hold a password. Out: a
line of JSON a run on stdout: the exit code and where the run lies. It only records: a report of each single run, with
its search for the right size, would take longer than the run itself. What went wrong is said on stderr.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from poolctl.cli import options, rehearsal
from poolctl.cli.app import command
from poolctl.cli.boundary import guarded
from poolctl.errors import TargetError
from poolctl.load.session import INTERRUPTED, TARGET_LOST, rehearse
from poolctl.trace.run import Run


def serve() -> int:
    """Answer until stdin ends; return an exit code."""
    answers = _own_stdout()
    try:
        import poolctl.load.swarm  # noqa: F401 - locust, a second of imports: while the other side does the same

        for line in sys.stdin:
            made: list[Run] = []
            code = guarded(lambda asked=line, into=made: into.append(_record(json.loads(asked))))  # type: ignore[misc]
            answers.write(json.dumps({"code": code, "path": str(made[0].path) if made else None}) + "\n")
            answers.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        return 0  # whoever asked got the same Ctrl-C, or is gone
    return 0


def _own_stdout() -> TextIO:
    """Return stdout for the answers alone: what a scenario prints goes to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _record(arguments: list[str]) -> Run:
    """Make one run. Raises PoolctlError, and KeyboardInterrupt when it was interrupted."""
    from poolctl import config

    given: dict[str, Any] = command("loadtest").make_context("loadtest", arguments).params
    settings = config.load({key: given[key] for key in options.SETTINGS if key in given})
    (plan,) = rehearsal.plans(given["scenarios"], settings)
    run = rehearse(plan)
    meta = run.read_meta()
    if meta.get("end") == INTERRUPTED:
        raise KeyboardInterrupt
    if meta.get("end") == TARGET_LOST:
        raise TargetError(str(meta.get("end_detail") or TARGET_LOST), f"the run is kept: {Path(run.path)}")
    return run
