"""Objectives of one test: `@pytest.mark.poolctl("p95 wait < 50ms")`.

In: texts, the records that were made during the test. Out: a line for each objective that is missed, or that cannot be
told. Imported only for a test that has the marker.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from poolctl.analysis.gate import judge
from poolctl.analysis.leases import tables
from poolctl.analysis.objectives import parse
from poolctl.analysis.summary import target_of
from poolctl.analysis.view import View
from poolctl.trace.eventfile import header, read_header
from poolctl.trace.report import Outcome
from poolctl.trace.run import Run


def missed(objectives: Sequence[str], run: Run, raw: bytes) -> list[str]:
    """Return what to say of the objectives that are not met. Raises UsageError for a text that is none."""
    wanted = [parse(text) for text in objectives]
    with tempfile.TemporaryDirectory(prefix="poolctl-test-") as directory:
        part = Run(Path(directory))
        for events in run.event_files():
            (part.path / events.name).write_bytes(header(*read_header(events)) + raw)
            shutil.copy(run.names_file(events), part.path)
        part.write_meta({key: value for key, value in run.read_meta().items() if key not in ("schema", "id", "end")})
        made = tables(part)
        view = View(made, target_of(made))
        results = [judge(objective, view) for objective in wanted]
    said = []
    for objective, result in zip(wanted, results, strict=True):
        if result.verdict is not Outcome.PASS:
            value = "" if result.value is None else f": measured {objective.show(result.value)}"
            reason = f", {result.reason}" if result.reason else ""
            said.append(f"objective {result.verdict}: {result.objective}{value}{reason}")
    return said
