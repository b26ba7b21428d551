"""From a recorded run to its Report: as it was written then, or judged anew."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from poolctl.config import Settings
from poolctl.errors import InputError, OutputError
from poolctl.report import render
from poolctl.trace.report import SCHEMA, Report
from poolctl.trace.run import Run

if TYPE_CHECKING:
    from poolctl.analysis.summary import Sizer


def recorded(run: Run) -> Report | None:
    """Return the report that lies in the run; None when there is none, or one of another schema."""
    path = run.path / "report.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Report.from_json(data) if data.get("schema") == SCHEMA else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        problem = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise InputError(f"{path} cannot be read: {problem}", "make it anew with --analyse") from None


def judged(run: Run, settings: Settings, sizer: Sizer | None = None) -> Report:
    """Analyse the run by today's settings. The objectives of `--slo` replace those it was recorded with.

    `sizer` sizes the run where something else is asked than the recommendation.
    """
    from poolctl.analysis.summary import analyse

    return analyse(run, settings, sizer)


def first_judged(run: Run, settings: Settings) -> Report:
    """Analyse a run that has no report yet (it was cut off), and keep the report where the run may be written."""
    report = judged(run, settings)
    with contextlib.suppress(OutputError):
        keep(run, report)
    return report


def keep(run: Run, report: Report) -> None:
    """Write the report into the run. Raises OutputError."""
    run.write_text("report.json", render(report, "json"))
