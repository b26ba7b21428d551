"""Log blind: what a log cannot tell, in plain sentences, and what to switch on so that it tells the most.

In: facts about a log that was read. Out: sentences for the report. Knows nothing of lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from poolctl.units import format_seconds

SNIPPET = (
    'logging.basicConfig(filename="pool.log", datefmt="%Y-%m-%dT%H:%M:%S", '
    'format="%(asctime)s.%(msecs)03d %(process)d %(thread)d %(name)s %(message)s"); '
    'logging.getLogger("sqlalchemy.pool").setLevel(logging.DEBUG)'
)
"""Python that makes a log with everything in it that a log can hold."""

WHAT_TO_SWITCH_ON = f"switch on, before the engine is used: {SNIPPET} (from Python 3.12 on also %(taskName)s)"


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides which sentences hold."""

    resolution_s: float
    zoned: bool
    sqlalchemy: bool
    """The log speaks of SQLAlchemy's pools."""
    psycopg: bool
    """The log speaks of psycopg_pool's."""
    names_processes: bool
    names_tasks: bool
    """Leases carry the thread or task that asked."""
    pools_alike: bool
    """Pools of one class and process that no logging name tells apart are possible."""
    shared: bool
    timeouts: int
    orphans: int
    unclear: int
    untimed: int
    nameless: int
    duplicates: int
    backwards: int
    in_order: bool
    interrupted: bool


def blind_lines(facts: Facts) -> list[str]:
    """Return what this log cannot tell."""
    step = format_seconds(facts.resolution_s)
    lines = [f"times are exact to {step}, as the log has them; a shorter hold counts as none"]
    if facts.sqlalchemy:
        lines += _of_sqlalchemy(facts)
    if facts.psycopg:
        lines += _of_psycopg(facts)
    lines.append(
        "which line of code asked, and what was done with the connection: no SQL, no statements, no idle-in-hold"
    )
    if not facts.names_processes:
        lines.append("which process wrote a line: several in one log are taken for one (add %(process)d)")
    if facts.sqlalchemy and not facts.names_tasks:
        lines.append(
            "which thread or task held a connection, so no nested checkouts (add %(thread)d, for asyncio %(taskName)s)"
        )
    if not facts.zoned:
        lines.append("the time zone: the log's times are taken for this machine's local time")
    return lines + _of_this_log(facts)


def _of_sqlalchemy(facts: Facts) -> list[str]:
    told = f"; {facts.timeouts:,} requests are known to have timed out, as an exception in this log says so" * bool(
        facts.timeouts
    )
    lines = [
        f"the request for a connection, so no wait and no acquire time, nobody waiting, nobody refused{told}",
        "how long connecting took, except where a dead or old connection was replaced",
        "how long a pre-ping took: one that succeeds counts to the hold",
        "how long the reset took: a hold ends where the return begins",
        "the settings of the pool, but where a line quotes them (pool_size and the others can be told in poolctl.toml)",
        "when a connection was detached: its hold ends where it is closed, and stays open where that never happens",
        "whether a connection of a sync pool was returned by its user or by the garbage collector",
    ]
    if facts.pools_alike:
        lines.append("which engine a pool belongs to: pools of one class count as one (give them a pool_logging_name)")
    if facts.shared:
        lines.append("who returned a StaticPool's one connection where leases overlap")
    return lines


def _of_psycopg(facts: Facts) -> list[str]:
    lines = [
        "which connection psycopg_pool gave, when it was opened and closed, and the pool's sizes",
        "how a request of psycopg_pool ended that got no connection, except where the exception is in this log",
    ]
    if facts.in_order:
        lines.append("who returned a connection to psycopg_pool: paired in their order, so only the mean hold is right")
    return lines


def _of_this_log(facts: Facts) -> list[str]:
    found = [
        (facts.orphans, "{:,} leases began before this log did: how long they held is not known"),
        (
            facts.unclear,
            "{:,} returns are missing in this log (was DEBUG switched off meanwhile?): those holds have no length",
        ),
        (facts.untimed, "{:,} lines of a pool have no time: taken to be written with the line before them"),
        (facts.nameless, "{:,} lines are about a connection that they do not name in a way that can be followed"),
        (facts.duplicates, "{:,} lines were written twice, by two handlers: counted once"),
        (facts.backwards, "time goes back by more than a second {:,} times: are these several logs, joined?"),
        (facts.interrupted, "the rest of the log: reading was interrupted"),
    ]
    return [sentence.format(count) for count, sentence in found if count]
