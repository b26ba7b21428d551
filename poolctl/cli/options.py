"""The options that commands share, each written once. What a value may be, `poolctl.config` says, for every source.

Texts stay texts here (`30s`, `50/s`): they are read in one place, so that the command line and TOML take the same.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

TARGET, POOL, LOAD, GATE, OUTPUT = "Target", "Pool", "Load", "Gate", "Output"
"""Where an option stands in the help."""


def option(panel: str, name: str, text: str, metavar: str | None = None) -> Any:
    """Return what typer wants to know of an option."""
    return typer.Option(name, help=text, metavar=metavar, show_default=False, rich_help_panel=panel)


Url = Annotated[
    str | None,
    option(
        TARGET,
        "--url",
        "Database, as a SQLAlchemy URL with an async driver. Without it: an embedded PostgreSQL.",
        "URL",
    ),
]
Engine = Annotated[
    str | None,
    option(TARGET, "--engine", "Your own AsyncEngine, or a function that returns one.", "MODULE:ATTRIBUTE"),
]
AllowWrites = Annotated[
    bool | None,
    option(TARGET, "--allow-writes", "Let scenarios create tables and change data in a database of yours."),
]
Yes = Annotated[bool | None, option(TARGET, "--yes", "Put load on a host that is not this machine.")]

PoolSize = Annotated[int | None, option(POOL, "--pool-size", "Connections kept open.", "N")]
MaxOverflow = Annotated[int | None, option(POOL, "--max-overflow", "Connections beyond pool_size; -1: no limit.", "N")]
PoolTimeout = Annotated[str | None, option(POOL, "--pool-timeout", "Longest wait for a connection.", "TIME")]
PoolRecycle = Annotated[
    str | None, option(POOL, "--pool-recycle", "Age at which a connection is replaced; -1: never.", "TIME")
]
PrePing = Annotated[bool | None, option(POOL, "--pre-ping/--no-pre-ping", "Test each connection before it is used.")]
Lifo = Annotated[bool | None, option(POOL, "--lifo/--fifo", "Hand out the connection returned last, or first.")]

Duration = Annotated[str | None, option(LOAD, "--duration", "How long; else what the scenario says.", "TIME")]
Rate = Annotated[
    str | None, option(LOAD, "--rate", "Mean arrivals, as 50/s or 300/min; else what the scenario says.", "RATE")
]
Seed = Annotated[int | None, option(LOAD, "--seed", "Draws arrivals and work: one seed, one load.", "N")]
Processes = Annotated[int | None, option(LOAD, "--processes", "Processes with a pool each; they share the load.", "N")]
Verify = Annotated[
    bool, option(LOAD, "--verify", "Then run the recommendation and its neighbours on the same load, and correct it.")
]
Sweep = Annotated[
    str | None, option(LOAD, "--sweep", "Run the load at each of these pool sizes, in turns, as 4,6,8-12.", "LIST")
]
Rounds = Annotated[int | None, option(LOAD, "--rounds", "How often each size of a sweep is run; else 2.", "N")]

Slo = Annotated[
    list[str] | None,
    option(GATE, "--slo", 'Objective, as "p95 wait < 50ms" or "rate timeouts < 0.1%". Repeatable.', "EXPR"),
]
FailOn = Annotated[
    str | None,
    option(GATE, "--fail-on", "Exit with 1 on a finding this bad: info, warning, error or critical.", "SEVERITY"),
]
Inconclusive = Annotated[
    str | None,
    option(GATE, "--inconclusive", "What counts when the data cannot tell (exit code 4): pass or fail.", "WORD"),
]

Baseline = Annotated[
    str | None, option(GATE, "--baseline", "Hold the run to this one: a run, several, or a saved baseline.", "RUN")
]
Margin = Annotated[str | None, option(GATE, "--margin", "Worse by so much is still accepted; else 10%.", "SHARE")]
Alpha = Annotated[
    str | None, option(GATE, "--alpha", "Rate of false alarms, of the whole comparison; else 0.05.", "SHARE")
]
Primary = Annotated[
    str | None, option(GATE, "--primary", "The time whose p95 is tested: response (else), hold, wait, …", "TIME")
]
AllowForeign = Annotated[
    bool, option(GATE, "--allow-foreign-baseline", "Compare with runs of another machine, version or scenario.")
]

Format = Annotated[
    str | None,
    option(OUTPUT, "--format", "On stdout: console, json, markdown, html, junit, github or openmetrics.", "FORMAT"),
]
ReportFile = Annotated[
    list[str] | None,
    option(
        OUTPUT,
        "--report",
        "Write it there too; .txt .json .md .html .xml .annotations .prom says how. Repeatable.",
        "FILE",
    ),
]
Force = Annotated[bool, option(OUTPUT, "--force", "Overwrite files that are already there.")]
RunsDir = Annotated[str | None, option(OUTPUT, "--runs-dir", "Where runs are kept; else .poolctl/runs.", "DIR")]
Quiet = Annotated[bool, option(OUTPUT, "--quiet", "No progress on stderr.")]
Verbose = Annotated[
    bool, option(OUTPUT, "--verbose", "Each change of a pool as a line on stderr, instead of progress (DEBUG).")
]

SETTINGS = (
    "url",
    "engine",
    "allow_writes",
    "yes",
    "pool_size",
    "max_overflow",
    "pool_timeout",
    "pool_recycle",
    "pre_ping",
    "lifo",
    "duration",
    "rate",
    "seed",
    "processes",
    "slo",
    "fail_on",
    "baseline",
    "inconclusive",
    "format",
    "report",
    "runs_dir",
)
"""The options that are settings too (`poolctl.config`): the command line is only their first source."""
