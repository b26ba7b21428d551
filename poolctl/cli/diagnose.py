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
    log: Annotated[
        str | None,
        options.option(
            options.TARGET, "--log", "Read a DEBUG log of sqlalchemy.pool or psycopg.pool instead; - is stdin.", "FILE"
        ),
    ] = None,
    trace: Annotated[
        str | None, options.option(options.TARGET, "--trace", "Judge a recorded run instead: `last`, an id.", "RUN")
    ] = None,
    url: Annotated[
        str | None,
        options.option(options.TARGET, "--url", "The application's database, to look at its sessions as well.", "URL"),
    ] = None,
    engine: Annotated[
        str | None,
        options.option(
            options.TARGET,
            "--engine",
            "Your engine, to judge its settings (--window 0).",
            "MODULE:ATTRIBUTE",
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        options.option(options.TARGET, "--proxy", "PgBouncer's admin console, to look at it as well.", "URL"),
    ] = None,
    proxy_log: Annotated[
        str | None,
        options.option(options.TARGET, "--proxy-log", "PgBouncer's log: whom it dropped, and when.", "FILE"),
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
    verbose: options.Verbose = False,
) -> int:
    """Watch an application for a window; say what is wrong with its pool, who does it, and what to change.

    What poolctl started (-- COMMAND) is ended politely at the end of the window, or with Ctrl-C, which ends the window
    early and still reports. A process that was running (--pid) goes on as if nobody had watched. With neither, the
    processes are watched that call poolctl.attach() or have ?plugin=poolctl in their database's URL.
    """
    from pathlib import Path

    from poolctl import config
    from poolctl.cli import watching
    from poolctl.cli.output import Output
    from poolctl.errors import UsageError

    given: dict[str, Any] = locals()
    keys = (
        "url",
        "engine",
        "proxy",
        "proxy_log",
        "window",
        "slo",
        "fail_on",
        "inconclusive",
        "format",
        "report",
        "runs_dir",
    )
    settings = config.load({key: given[key] for key in keys})
    output = Output.plan(settings.format, settings.report, force=force)
    watching.refuse_several(command=command, pid=pid, log=log, trace=trace, engine=engine)
    if engine is not None and settings.window > 0:
        raise UsageError("an engine alone cannot be watched", "add --window 0 to judge its settings, or -- COMMAND")
    if trace is not None:
        return watching.again(trace, settings, output)
    if log is not None:
        return watching.read(Path(log), settings, output)
    if settings.window == 0:
        return watching.settings_only(settings, output)
    return watching.run(
        watching.plan(tuple(command or ()), pid, settings), settings, output, quiet=quiet, verbose=verbose
    )
