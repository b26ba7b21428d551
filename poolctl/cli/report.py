"""`poolctl report`: show a recorded run again."""

from __future__ import annotations

from typing import Annotated

import typer

from poolctl.cli import options
from poolctl.cli.app import GroupedCommand, new

app = new()


@app.command(cls=GroupedCommand)
def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="`last`, a run's id (or how it begins), or its directory.")
    ] = "last",
    analyse: Annotated[
        bool, typer.Option("--analyse", help="Compute the report anew, with today's settings and thresholds.")
    ] = False,
    slo: options.Slo = None,
    fail_on: options.FailOn = None,
    inconclusive: options.Inconclusive = None,
    format: options.Format = None,  # noqa: A002 - the option's name
    report: options.ReportFile = None,
    force: options.Force = False,
    runs_dir: options.RunsDir = None,
) -> int:
    """Show a recorded run again, in any format.

    With --slo, --fail-on, --inconclusive or --analyse it is judged anew, otherwise shown as it was. The exit code is
    that of the run's gate.
    """
    from pathlib import Path

    from poolctl import config
    from poolctl.cli.output import Output
    from poolctl.cli.recorded import first_judged, judged, recorded
    from poolctl.trace.run import Run

    gate = {"slo": slo, "fail_on": fail_on, "inconclusive": inconclusive}
    settings = config.load({**gate, "format": format, "report": report, "runs_dir": runs_dir})
    output = Output.plan(settings.format, settings.report, force=force)
    found = Run.open(run, Path(settings.runs_dir))
    shown = (
        judged(found, settings) if analyse or any(gate.values()) else recorded(found) or first_judged(found, settings)
    )
    output.deliver([shown])
    return shown.exit_code
