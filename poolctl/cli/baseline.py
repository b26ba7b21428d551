"""A load run held to a baseline: `loadtest --baseline RUN`.

In: the run's report, the baseline. Out: the same report with a row an aspect among its objectives, and the exit code of
both gates. Foreign baselines are refused once the runs are made and kept: only then the server is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from poolctl.analysis.compare import Declared
from poolctl.analysis.phrases import percent
from poolctl.cli.comparing import against
from poolctl.config import Settings
from poolctl.errors import Exit
from poolctl.report import render_comparison
from poolctl.trace.comparison import Measure, Role
from poolctl.trace.report import ObjectiveResult, Report
from poolctl.trace.run import Run

ENDS = (Exit.INTERRUPTED, Exit.TARGET)
GATE = (Exit.GATE_FAILED, Exit.INCONCLUSIVE, Exit.DONE)
"""Of two gates, the first of these that either says is the exit code."""


def hold(report: Report, run: Run, base: Sequence[Run], settings: Settings, *, foreign_too: bool) -> Report:
    """Return the report with what the comparison says. Raises UsageError for a foreign baseline."""
    if report.exit_code in ENDS:
        return report
    names = (settings.baseline or "", run.id)
    made = against(base, [run], settings, Declared(), names, foreign_too=foreign_too)
    run.write_text("comparison.json", render_comparison(made, "json"))
    rows = [
        _objective(row, made.margin)
        for scenario in made.scenarios
        for row in scenario.measures
        if row.role is not Role.ADVISORY
    ]
    code = next(code for code in GATE if code in (report.exit_code, made.exit_code))
    return dataclasses.replace(report, objectives=[*report.objectives, *rows], exit_code=int(code))


def _objective(row: Measure, margin: float) -> ObjectiveResult:
    """A row of the comparison as an objective: the first word says what kind of number it is."""
    kind = {"s": "", "share": "rate "}.get(row.unit, "count ")
    limit = f"baseline + {percent(margin)}" if row.role is Role.PRIMARY else "baseline"
    interval = None if row.ci is None or row.base is None else (row.ci[0] * row.base, row.ci[1] * row.base)
    return ObjectiveResult(f"{kind}{row.name} <= {limit}", row.head, interval, row.verdict, row.reason)
