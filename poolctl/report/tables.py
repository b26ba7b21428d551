"""Report -> tables of plain text, which every format for people lays out in its own way.

In: a Report. Out: `Table`: titles, cells as text, a tone for each row. Knows no markup and computes no statistic.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from poolctl.report.sentences import near
from poolctl.trace.report import Dist, Finding, ObjectiveResult, Outcome, Prediction, Report, SiteRow
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


SIZE_COLUMNS = (
    Column("size + overflow", text=True),
    Column("p50 wait", wide=True),
    Column("p95 wait"),
    Column("p99 wait", wide=True),
    Column("timeouts"),
    Column("p95 response"),
    Column("in use"),
    Column("connections", wide=True),
    Column("connects", wide=True),
    Column("objective", text=True),
)


def predictions(report: Report) -> Table:
    """What the model says of each size; today's and the recommended one are marked."""
    sizing = report.sizing
    if sizing is None:
        return Table(SIZE_COLUMNS, [])
    today, best = report.target.settings, sizing.recommended
    rows, tones = [], []
    for p in sizing.predictions:
        size = (p.pool_size, p.max_overflow)
        is_best = best is not None and size == (best.pool_size, best.max_overflow)
        is_today = size == (today.pool_size, today.max_overflow)
        mark = "keep" if is_best and is_today else "recommended" if is_best else "today" if is_today else ""
        rows.append(_prediction(p, mark))
        tones.append("good" if is_best else "mark" if is_today else "")
    return _without_empty(Table(SIZE_COLUMNS, rows, tones))


def rules_of_thumb(report: Report) -> Table:
    """What common rules would have set, and what the model says of it."""
    columns = (
        Column("rule of thumb", text=True),
        Column("size"),
        Column("p95 wait"),
        Column("timeouts"),
        Column("p95 response", wide=True),
        Column("objective", text=True),
    )
    rows = []
    for thumb in report.sizing.rules_of_thumb if report.sizing else []:
        size, _, wait, _, timeouts, response, *_, met = _prediction(thumb.prediction, "")
        rows.append([thumb.rule, size, wait, timeouts, response, met])
    return _without_empty(Table(columns, rows))


def _prediction(p: Prediction, mark: str) -> list[str]:
    response = p.response_time_s
    return [
        f"{p.pool_size} + {p.max_overflow}" + (f" ← {mark}" if mark else ""),
        format_seconds(p.wait_time_s.p50),
        format_seconds(p.wait_time_s.p95),
        format_seconds(p.wait_time_s.p99),
        format_share(p.timeout_rate),
        format_seconds(response.p95 if response else None),
        format_share(p.utilisation),
        f"{p.connections:,}",
        DASH if p.connects is None else f"{p.connects:,}",
        {None: DASH, True: "met", False: "missed"}[p.meets],
    ]


def _without_empty(table: Table) -> Table:
    """Return the table without the columns that say nothing in any row."""
    kept = [i for i in range(len(table.columns)) if any(row[i] != DASH for row in table.rows)]
    rows = [[row[i] for i in kept] for row in table.rows]
    return Table(tuple(table.columns[i] for i in kept), rows, table.tones)


def backtest(report: Report) -> Table:
    """Predicted beside measured: of this run, and with `--verify` of the run at the recommended size."""
    columns = (Column("run", text=True), Column("number", text=True), Column("predicted"), Column("measured"))
    rows: list[list[str]] = []
    sizing = report.sizing
    if sizing and (b := sizing.backtest):
        rows += [
            ["this one", "p95 wait", format_seconds(b.predicted_p95_wait_s), format_seconds(b.measured_p95_wait_s)],
            ["", "timeouts", format_share(b.predicted_timeout_rate), format_share(b.measured_timeout_rate)],
        ]
    if sizing and (v := sizing.verified):
        predicted = v.predicted
        rows += [
            [
                f"{v.settings.pool_size} + {v.settings.max_overflow}",
                "p95 wait",
                format_seconds(predicted.wait_time_s.p95 if predicted else None),
                format_seconds(v.measured_wait_time_s.p95),
            ],
            [
                "",
                "timeouts",
                format_share(predicted.timeout_rate if predicted else None),
                format_share(v.measured_timeout_rate),
            ],
        ]
    return Table(columns, rows)


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
