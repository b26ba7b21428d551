"""`poolctl size`: what another pool size would do to recorded traffic, and which one it needs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from poolctl.cli import options
from poolctl.cli.app import GroupedCommand, new

app = new()

WHAT_IF, SIZES = "What if", "Sizes"


@app.command(cls=GroupedCommand)
def size(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="`last`, a run's id, or its directory; of several each is predicted from the others.",
            show_default=False,
        ),
    ] = None,
    arrivals: Annotated[
        str | None, options.option(WHAT_IF, "--arrivals", "So many times the requests, bursts as they are.", "FACTOR")
    ] = None,
    sql: Annotated[
        str | None, options.option(WHAT_IF, "--sql", "The database needs so many times as long.", "FACTOR")
    ] = None,
    hold: Annotated[
        list[str] | None,
        options.option(
            WHAT_IF,
            "--hold",
            "Leases of this site or transaction hold so many times as long, as checkout=0.5. Repeatable.",
            "SITE=FACTOR",
        ),
    ] = None,
    processes: Annotated[
        int | None, options.option(WHAT_IF, "--processes", "The same requests dealt out to so many processes.", "N")
    ] = None,
    server_connections: Annotated[
        int | None,
        options.option(WHAT_IF, "--server-connections", "So many connections are allowed to all pools together.", "N"),
    ] = None,
    rolling: Annotated[
        bool, options.option(WHAT_IF, "--rolling", "Old and new processes run side by side during a deploy.")
    ] = False,
    pool_size: Annotated[
        str | None,
        options.option(SIZES, "--pool-size", "Sizes to predict, as 4,6,8-12.", "LIST"),
    ] = None,
    max_overflow: Annotated[
        str | None, options.option(SIZES, "--max-overflow", "Overflows to predict at each size, as 0,5,10.", "LIST")
    ] = None,
    cores: Annotated[
        int | None, options.option(SIZES, "--cores", "Cores of the database's machine, where it is not this one.", "N")
    ] = None,
    deadline: Annotated[
        str | None, options.option(SIZES, "--deadline", "The caller's own timeout: it bounds pool_timeout.", "TIME")
    ] = None,
    idle_limit: Annotated[
        str | None,
        options.option(
            SIZES,
            "--idle-limit",
            "Shortest idle timeout on the path: it bounds pool_recycle.",
            "TIME",
        ),
    ] = None,
    verify: options.Verify = False,
    url: options.Url = None,
    engine: options.Engine = None,
    allow_writes: options.AllowWrites = None,
    yes: options.Yes = None,
    slo: options.Slo = None,
    inconclusive: options.Inconclusive = None,
    format: options.Format = None,  # noqa: A002 - the option's name
    report: options.ReportFile = None,
    force: options.Force = False,
    runs_dir: options.RunsDir = None,
    quiet: options.Quiet = False,
) -> int:
    """Predict what another pool size would do to recorded traffic, and say which size it needs.

    First the run itself is predicted: where that fails, or the run is too short for its own traffic, there is no
    advice. Exit code 1: no size meets the objective; 4: the run does not tell. With --verify the scenario of the run is
    run again at the recommended size and its neighbours, on the embedded PostgreSQL or where --url or --engine say.
    """
    from poolctl import config
    from poolctl.cli import predicting
    from poolctl.cli.output import Output

    given: dict[str, Any] = locals()
    keys = ("url", "engine", "allow_writes", "yes", "slo", "inconclusive", "format", "report", "runs_dir")
    settings = config.load({key: given[key] for key in keys})
    output = Output.plan(settings.format, settings.report, force=force)
    return predicting.run(runs or ["last"], predicting.asked(given), settings, output, verify=verify, quiet=quiet)
