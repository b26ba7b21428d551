"""Report -> tables about sizes: predictions, the grid, rules of thumb, predicted beside measured.

In: a Report. Out: `Table`s of plain text, as in `report.tables`. Computes no statistic.
"""

from __future__ import annotations

from dataclasses import replace

from poolctl.report.sentences import size
from poolctl.report.tables import DASH, Column, Table
from poolctl.trace.report import Backtest, PoolSettings, Prediction, Report, Sizing, Verified
from poolctl.units import format_seconds, format_share

LEAVE_OUT_FIRST = ("connections", "p50 wait", "connects", "p99 wait")
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


def predictions(report: Report, *, whole: bool = False) -> Table:
    """What the model says of each size; today's and the recommended one are marked.

    `whole`: of the sizes with overflow, which `grid` has, only those.
    """
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
        if whole and p.max_overflow and not mark:
            continue
        rows.append(_prediction(p, mark))
        tones.append("good" if is_best else "mark" if is_today else "")
    return _without_empty(Table(SIZE_COLUMNS, rows, tones))


def fitting(table: Table, width: int) -> Table:
    """Return the table with as many columns shown as fit into `width`; the last of LEAVE_OUT_FIRST are kept longest."""
    shown = [replace(column, wide=False) for column in table.columns]
    for title in ("", *LEAVE_OUT_FIRST):
        shown = [replace(column, wide=column.wide or column.title == title) for column in shown]
        kept = [i for i, column in enumerate(shown) if not column.wide]
        widths = [max(len(text) for text in (shown[i].title, *(row[i] for row in table.rows))) for i in kept]
        if sum(widths) + 2 * len(widths) <= width:
            break
    return Table(tuple(shown), table.rows, table.tones)


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


def grid(report: Report) -> Table:
    """The p95 wait over pool_size (down) and max_overflow (across); no rows where no overflow was varied."""
    made = {(p.pool_size, p.max_overflow): p for p in (report.sizing.predictions if report.sizing else [])}
    sizes, overflows = sorted({size for size, _ in made}), sorted({overflow for _, overflow in made})
    full = [size for size in sizes if sum((size, overflow) in made for overflow in overflows) > 1]
    columns = (Column("pool_size"), *(Column(f"overflow {overflow}") for overflow in overflows))
    if len(full) < 2 or len(overflows) < 2:
        return Table(columns, [])
    return Table(columns, [[str(size), *(_cell(made.get((size, each))) for each in overflows)] for size in full])


def _cell(prediction: Prediction | None) -> str:
    if prediction is None:
        return DASH
    mark = {None: "", True: " ✓", False: " ✗"}[prediction.meets]
    return format_seconds(prediction.wait_time_s.p95) + mark


def _without_empty(table: Table) -> Table:
    """Return the table without the columns that say nothing in any row."""
    kept = [i for i in range(len(table.columns)) if any(row[i] != DASH for row in table.rows)]
    rows = [[row[i] for i in kept] for row in table.rows]
    return Table(tuple(table.columns[i] for i in kept), rows, table.tones)


def backtest(report: Report) -> Table:
    """Predicted beside measured: of this run, of runs on the same arrivals at other sizes, of other runs."""
    columns = (
        Column("run", text=True),
        Column("p95 wait"),
        Column("measured"),
        Column("timeouts"),
        Column("measured"),
        Column("objective", text=True),
    )
    sizing = report.sizing
    if sizing is None:
        return Table(columns, [])
    rows = [[f"this one, {size(report.target.settings)}", *_tested(sizing.backtest), DASH]] if sizing.backtest else []
    tones = [""] * len(rows)
    for settings, runs in _by_size(sizing):
        rows.append([size(settings), *_proved(runs), _met(runs)])
        tones.append({"met": "good", "missed": "bad"}.get(rows[-1][-1], "doubt"))
    for each in sizing.across:
        name = f"{each.run_id}, {size(each.settings)}, from {each.from_run}"
        rows.append([name, *_tested(each.backtest), DASH])
        tones.append("" if each.backtest.ok else "bad")
    return _without_empty(Table(columns, rows, tones))


def _by_size(sizing: Sizing) -> list[tuple[PoolSettings, list[Verified]]]:
    """The runs made to prove the predictions, those at one size together, in the order of the sizes."""
    made = sizing.measured or ([sizing.verified] if sizing.verified else [])
    found: dict[tuple[int, int], list[Verified]] = {}
    for each in made:
        found.setdefault((each.settings.pool_size or 0, each.settings.max_overflow or 0), []).append(each)
    return [(runs[0].settings, runs) for _, runs in sorted(found.items())]


def _tested(tested: Backtest | None) -> list[str]:
    if tested is None:
        return [DASH] * 4
    return [
        format_seconds(tested.predicted_p95_wait_s),
        format_seconds(tested.measured_p95_wait_s),
        format_share(tested.predicted_timeout_rate),
        format_share(tested.measured_timeout_rate),
    ]


def _proved(runs: list[Verified]) -> list[str]:
    predicted = runs[0].predicted
    return [
        format_seconds(predicted.wait_time_s.p95 if predicted else None),
        " / ".join(format_seconds(run.measured_wait_time_s.p95) for run in runs),
        format_share(predicted.timeout_rate if predicted else None),
        " / ".join(format_share(run.measured_timeout_rate) for run in runs),
    ]


def _met(runs: list[Verified]) -> str:
    verdicts = {run.met for run in runs}
    if len(verdicts) > 1:
        return "now met, now missed"
    return {None: DASH, True: "met", False: "missed"}[verdicts.pop()]
