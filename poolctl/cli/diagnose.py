"""`poolctl diagnose`: watch an application for a window and say what is wrong with its pool."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from poolctl.cli import options
from poolctl.cli.app import GroupedCommand, new

app = new()


@app.command(cls=GroupedCommand, context_settings={"allow_interspersed_args": False})
def diagnose(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- COMMAND",
            help="Run this under capture, with all its Python processes; it is ended with the window.",
            show_default=False,
        ),
    ] = None,
    pid: Annotated[
        int | None, options.option(options.TARGET, "--pid", "Attach to this live Python process; no restart.", "PID")
    ] = None,
    trace: Annotated[
        str | None, options.option(options.TARGET, "--trace", "Judge a recorded run instead: `last`, an id.", "RUN")
    ] = None,
    url: Annotated[
        str | None,
        options.option(options.TARGET, "--url", "The application's database, to look at its sessions as well.", "URL"),
    ] = None,
    window: Annotated[
        str | None, options.option(options.TARGET, "--window", "How long to watch; else 60s.", "TIME")
    ] = None,
    slo: options.Slo = None,
    fail_on: options.FailOn = None,
    inconclusive: options.Inconclusive = None,
    format: options.Format = None,  # noqa: A002 - the option's name
    report: options.ReportFile = None,
    force: options.Force = False,
    runs_dir: options.RunsDir = None,
    quiet: options.Quiet = False,
) -> int:
    """Watch an application for a window; say what is wrong with its pool, who does it, and what to change.

    What poolctl started (-- COMMAND) is ended politely at the end of the window, or with Ctrl-C, which ends the window
    early and still reports. A process that was running (--pid) goes on as if nobody had watched. With neither, the
    processes are watched that call poolctl.attach() or have ?plugin=poolctl in their database's URL.
    """
    from poolctl import config
    from poolctl.cli import watching
    from poolctl.cli.output import Output

    given: dict[str, Any] = locals()
    keys = ("url", "window", "slo", "fail_on", "inconclusive", "format", "report", "runs_dir")
    settings = config.load({key: given[key] for key in keys})
    output = Output.plan(settings.format, settings.report, force=force)
    if trace is not None:
        return watching.again(trace, settings, output, others=bool(command) or pid is not None)
    return watching.run(watching.plan(tuple(command or ()), pid, settings), settings, output, quiet=quiet)
