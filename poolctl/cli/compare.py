"""`poolctl compare`: two sets of runs, to pass, fail or cannot tell."""

from __future__ import annotations

from typing import Annotated

import typer

from poolctl.cli import options
from poolctl.cli.app import GroupedCommand, new
from poolctl.errors import UsageError

app = new()

AB = "A/B in one job"
SHARED = (
    "url",
    "engine",
    "allow_writes",
    "yes",
    "pool_size",
    "max_overflow",
    "pool_timeout",
    "duration",
    "rate",
    "seed",
    "processes",
)
"""Options of loadtest that may be given for both sides."""


@app.command(cls=GroupedCommand)
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BASE HEAD",
            help="Each a run, several separated by commas, a directory of runs, or a saved baseline.",
            show_default=False,
        ),
    ] = None,
    margin: options.Margin = None,
    alpha: options.Alpha = None,
    primary: options.Primary = None,
    allow_foreign_baseline: options.AllowForeign = False,
    save: Annotated[
        str | None,
        options.option(
            options.GATE, "--save", "Keep the runs given as a baseline of this name; compare nothing.", "NAME"
        ),
    ] = None,
    history: Annotated[
        str | None,
        options.option(
            options.GATE, "--history", "Find where the runs in this directory changed; no arguments.", "DIR"
        ),
    ] = None,
    ab: Annotated[
        bool,
        options.option(AB, "--ab", "Run base and head in turns on the same tapes; the arguments are scenarios."),
    ] = False,
    base: Annotated[
        str | None, options.option(AB, "--base", "Options of loadtest for the base only, in quotes.", "OPTIONS")
    ] = None,
    head: Annotated[
        str | None, options.option(AB, "--head", "Options of loadtest for the head only, in quotes.", "OPTIONS")
    ] = None,
    base_dir: Annotated[str | None, options.option(AB, "--base-dir", "Checkout to run the base in.", "DIR")] = None,
    head_dir: Annotated[str | None, options.option(AB, "--head-dir", "Checkout to run the head in.", "DIR")] = None,
    base_python: Annotated[
        str | None, options.option(AB, "--base-python", "Interpreter of the base's environment.", "PYTHON")
    ] = None,
    head_python: Annotated[
        str | None, options.option(AB, "--head-python", "Interpreter of the head's environment.", "PYTHON")
    ] = None,
    pairs: Annotated[int, options.option(AB, "--pairs", "Pairs of runs at most; else 8.", "N")] = 8,
    looks: Annotated[
        int, options.option(AB, "--looks", "How often it may look and stop when decided; else 2.", "N")
    ] = 2,
    calibrate: Annotated[
        bool, options.option(AB, "--calibrate", "Run the base against itself, to learn the noise (with --ab).")
    ] = False,
    url: options.Url = None,
    engine: options.Engine = None,
    allow_writes: options.AllowWrites = None,
    yes: options.Yes = None,
    pool_size: options.PoolSize = None,
    max_overflow: options.MaxOverflow = None,
    pool_timeout: options.PoolTimeout = None,
    duration: options.Duration = None,
    rate: options.Rate = None,
    seed: options.Seed = None,
    processes: options.Processes = None,
    inconclusive: options.Inconclusive = None,
    format: options.Format = None,  # noqa: A002 - the option's name
    report: options.ReportFile = None,
    force: options.Force = False,
    runs_dir: options.RunsDir = None,
    quiet: options.Quiet = False,
) -> int:
    """Compare base and head: worse, not worse, or cannot tell, with the smallest effect that could have been seen.

    The unit is the run: give several a side, on the same seeds. What is not proven either way exits with 4.
    """
    given = locals()
    from poolctl import config
    from poolctl.cli import comparing
    from poolctl.cli.output import Output

    keys = (*SHARED, "inconclusive", "format", "report", "runs_dir")
    settings = config.load({key: given[key] for key in keys})
    chosen = runs or []
    if save is not None:
        return comparing.keep(save, chosen, settings, force=force)
    declared = comparing.declare(margin, alpha, primary)
    output = Output.plan(settings.format, settings.report, force=force)
    if history is not None:
        return comparing.over_time(history, chosen, settings, declared, output)
    if ab or calibrate:
        from poolctl.cli import interleaved, variants

        contest = variants.contest(chosen, given, settings, declared)
        return interleaved.run(contest, settings, output)
    variants_only = [key for key in ("base", "head", "base_dir", "head_dir") if given[key]]
    if variants_only:
        raise UsageError(f"--{variants_only[0].replace('_', '-')} needs --ab", "add --ab, and name scenarios")
    return comparing.recorded(chosen, settings, declared, output, foreign_too=allow_foreign_baseline)
