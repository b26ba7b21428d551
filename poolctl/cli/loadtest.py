"""`poolctl loadtest`: put a pool under load and report what it did."""

from __future__ import annotations

from typing import Annotated

import typer

from poolctl.cli import options
from poolctl.cli.app import GroupedCommand, new

app = new()

DEFAULT = "bursty"
"""The scenario when none is named."""


@app.command(cls=GroupedCommand)
def loadtest(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCENARIO",
            help=f"Names (see `poolctl scenarios`) or files; one after another. Without any: {DEFAULT}.",
            show_default=False,
        ),
    ] = None,
    url: options.Url = None,
    engine: options.Engine = None,
    allow_writes: options.AllowWrites = None,
    yes: options.Yes = None,
    pool_size: options.PoolSize = None,
    max_overflow: options.MaxOverflow = None,
    pool_timeout: options.PoolTimeout = None,
    pool_recycle: options.PoolRecycle = None,
    pre_ping: options.PrePing = None,
    lifo: options.Lifo = None,
    duration: options.Duration = None,
    rate: options.Rate = None,
    seed: options.Seed = None,
    processes: options.Processes = None,
    verify: options.Verify = False,
    sweep: options.Sweep = None,
    rounds: options.Rounds = None,
    slo: options.Slo = None,
    fail_on: options.FailOn = None,
    baseline: options.Baseline = None,
    allow_foreign_baseline: options.AllowForeign = False,
    inconclusive: options.Inconclusive = None,
    format: options.Format = None,  # noqa: A002 - the option's name
    report: options.ReportFile = None,
    force: options.Force = False,
    runs_dir: options.RunsDir = None,
    quiet: options.Quiet = False,
) -> int:
    """Put a database's connection pool under load; report what it did and what size it should have.

    Without --url and --engine poolctl starts a PostgreSQL of its own and removes it again. Settings may also stand in
    poolctl.toml; `poolctl config` shows what holds.
    """
    from poolctl import config
    from poolctl.cli import rehearsal, sides
    from poolctl.cli.output import Output

    given = locals()
    settings = config.load({key: given[key] for key in options.SETTINGS if key in given})
    output = Output.plan(settings.format, settings.report, force=force)
    plans = rehearsal.plans(scenarios or [DEFAULT], settings)
    base = () if settings.baseline is None else tuple(sides.runs(settings.baseline, settings))
    manner = rehearsal.Manner(settings, verify=verify, quiet=quiet, base=base, foreign_too=allow_foreign_baseline)
    manner = rehearsal.laddered(manner, sweep, rounds)
    return rehearsal.run(plans, manner, output)
