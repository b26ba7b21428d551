"""Report -> tables of plain text, which every format for people lays out in its own way.

In: a Report. Out: `Table`: titles, cells as text, a tone for each row. Knows no markup and computes no statistic.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from poolctl.report.sentences import near
from poolctl.trace.report import Dist, Finding, ObjectiveResult, Outcome, Report, SiteRow
from poolctl.units import format_rate, format_seconds, format_share

DASH = "—"
QUANTILES = ("p50", "p90", "p95", "p99", "max")


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    title: str
    text: bool = False
    """Words, to the left; otherwise a number, to the right."""
    wide: bool = False
    """Left out on a narrow screen."""
    path: bool = False
    """Its right end says most: shortened from the left when the line is too long."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, as text."""

    columns: tuple[Column, ...]
    rows: list[list[str]]
    tones: list[str] = field(default_factory=list)
    """For each row `good`, `bad`, `doubt`, `mark` or empty; no tones: all empty."""


TERMS = {
    "acquire": "from asking the pool to having a connection: wait + connect + ping",
    "wait": "the part of it spent in the queue for a free connection",
    "hold": "from having the connection to giving it back",
    "sql": "the part of the hold in which the database worked",
    "idle-in-hold": "the rest of the hold: kept from the others, used by nobody",
}
"""What the rows of `times` mean, for a newcomer."""

OTHER_TERMS = {
    "response": "from the intended start of an operation to its end",
    "connect": "opening a connection",
    "ping": "testing it before use (pool_pre_ping)",
    "checkin": "giving it back: the reset and the hooks",
}
"""What the rows of `other_times` mean."""


def times(report: Report) -> Table:
    """The quantiles of the five times that matter."""
    t = report.times
    dists = {
        "acquire": t.acquire_time_s,
        "wait": t.wait_time_s,
        "hold": t.hold_time_s,
        "sql": t.sql_time_s,
        "idle-in-hold": t.idle_in_hold_s,
    }
    return _quantiles(dists, TERMS)


def other_times(report: Report) -> Table:
    """The quantiles of the other times, as far as there are samples."""
    t = report.times
    dists = {
        "response": t.response_time_s,
        "connect": t.connect_time_s,
        "ping": t.ping_time_s,
        "checkin": t.checkin_time_s,
    }
    return _quantiles({name: dist for name, dist in dists.items() if dist and dist.count}, OTHER_TERMS)


def _quantiles(dists: dict[str, Dist], terms: dict[str, str]) -> Table:
    columns = (
        Column("time", text=True),
        *map(Column, QUANTILES),
        Column("p95 interval", wide=True),
        Column("samples"),
        Column("what it is", text=True, wide=True),
    )
    rows = [
        [name, *quantiles(dist), interval(dist.ci95_p95), f"{dist.count:,}", terms[name]]
        for name, dist in dists.items()
    ]
    return Table(columns, rows)


def holding(report: Report) -> Table:
    """Who holds the connections: one row a transaction and site, the greatest share of the holding first."""
    columns = (
        Column("transaction", text=True),
        Column("site", text=True, path=True),
        Column("leases"),
        Column("p50", wide=True),
        Column("p95 hold"),
        Column("p95 interval", wide=True),
        Column("p99", wide=True),
        Column("max", wide=True),
        Column("sql"),
        Column("share"),
        Column("wait caused", wide=True),
    )
    rows = sorted(report.sites, key=lambda row: -(row.hold_share or 0))
    return Table(columns, [_holder(row) for row in rows])


def _holder(row: SiteRow) -> list[str]:
    hold = row.hold_time_s
    return [
        row.context or DASH,
        near(row.site).removesuffix(f" {row.context}"),
        f"{row.leases:,}",
        format_seconds(hold.p50),
        format_seconds(hold.p95),
        interval(hold.ci95_p95),
        format_seconds(hold.p99),
        format_seconds(hold.max),
        format_share(row.sql_share),
        format_share(row.hold_share),
        format_seconds(row.wait_caused_s),
    ]


def backends(report: Report) -> Table:
    """What the server said of the leases that matter."""
    columns = (
        Column("lease", text=True, path=True),
        Column("held"),
        Column("backend"),
        Column("what it does", text=True),
        Column("transaction"),
        Column("blocked by"),
        Column("last statement", text=True, wide=True),
    )
    rows = [
        [
            near(row.site) if row.site else f"not watched: {row.application or 'unnamed'}",
            format_seconds(row.hold_time_s) + (f" ({row.end})" if row.end in ("open", "leaked") else ""),
            str(row.backend_pid),
            "hidden" if row.state is None else f"{row.state}, {row.wait}" if row.wait else row.state,
            format_seconds(row.transaction_s),
            ", ".join(map(str, row.blocked_by)) or DASH,
            row.query,
        ]
        for row in report.backends
    ]
    return Table(columns, rows)


def long_leases(report: Report) -> Table:
    """The leases above the p95 of hold_time, the longest first."""
    columns = (
        Column("site", text=True, path=True),
        Column("transaction", text=True, wide=True),
        Column("held"),
        Column("from second"),
        Column("sql"),
        Column("end", text=True),
        Column("backend", wide=True),
        Column("the server saw", text=True, wide=True),
    )
    rows = [
        [
            near(lease.site),
            lease.context or DASH,
            format_seconds(lease.hold_time_s),
            f"{lease.acquired_at_s:.2f}",
            format_share(lease.sql_share),
            lease.end,
            str(lease.backend_pid or DASH),
            lease.server or DASH,
        ]
        for lease in report.long_leases
    ]
    return Table(columns, rows)


def objectives(report: Report) -> Table:
    """Each objective with what was measured."""
    columns = (
        Column("objective", text=True),
        Column("measured"),
        Column("95 % interval"),
        Column("verdict", text=True),
    )
    tone = {Outcome.PASS: "good", Outcome.FAIL: "bad", Outcome.INCONCLUSIVE: "doubt"}
    rows = [
        [
            result.objective,
            objective_value(result, result.value),
            f"{objective_value(result, result.ci[0])} – {objective_value(result, result.ci[1])}" if result.ci else DASH,
            f"{result.verdict}: {result.reason}" if result.reason else result.verdict.value,
        ]
        for result in report.objectives
    ]
    return Table(columns, rows, [tone[result.verdict] for result in report.objectives])


def objective_value(result: ObjectiveResult, value: float | None) -> str:
    """Format a value in the unit that the objective is about."""
    if value is None:
        return DASH
    statistic, *_, limit = result.objective.split()
    if statistic == "count":
        return f"{value:,.6g}"
    if statistic == "rate":
        return format_rate(value) if "/" in limit else format_share(value)
    return format_seconds(value)


def by_severity(report: Report) -> list[Finding]:
    """The findings, the worst first."""
    return sorted(report.findings, key=lambda finding: -finding.severity.rank)


def quantiles(dist: Dist) -> list[str]:
    """The cells of QUANTILES; `—` where the samples do not support one."""
    return [format_seconds(getattr(dist, name)) for name in QUANTILES]


def interval(ci: tuple[float, float] | None) -> str:
    """Format an interval of seconds; the unit once when both ends share it."""
    if ci is None:
        return DASH
    low, high = (format_seconds(end) for end in ci)
    if low.split()[-1] == high.split()[-1]:
        low = low.split()[0]
    return f"{low} – {high}"
