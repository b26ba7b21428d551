"""`poolctl size` in every format: what it shows, the picture, the grid, and all of it within its width."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sample_reports
from rich.cells import cell_len

from poolctl.report import FORMATS, render, sizing_tables
from poolctl.report.sizing_chart import curve
from poolctl.trace.report import Across, Backtest, Dist, PoolSettings, Prediction, Report, Verified


def prediction(size: int, overflow: int, wait_s: float, response_s: float) -> Prediction:
    wait, response = (Dist(1000, value / 2, value / 3, value, value, 2 * value) for value in (wait_s, response_s))
    return Prediction(size, overflow, wait, 0.0, 0.5, size + overflow, wait_s < 0.05, response, size)


def sized(*predictions: Prediction) -> Report:
    report = sample_reports.too_small()
    sizing = report.sizing
    assert sizing is not None
    return replace(report, command="size", exit_code=0, sizing=replace(sizing, predictions=list(predictions)))


LADDER = [prediction(size, 0, 0.8 / 2**size, 0.06 + 0.8 / 2**size) for size in range(1, 17)]
GRID = [prediction(size, overflow, 0.4 / (size + overflow), 0.1) for size in (4, 8, 14) for overflow in (0, 2, 5)]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_everything_fits_its_width(width: int) -> None:
    text = render(sized(*LADDER, *GRID), "console", width=width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "\x1b" not in text


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_takes_it(kind: str) -> None:
    assert render(sized(*LADDER), kind).endswith("\n")


def test_the_picture_falls_as_the_waits_fall_and_marks_what_meets_the_objective() -> None:
    lines = curve(sized(*LADDER), 100)
    filled = [sum(mark not in " •" for mark in line.partition("┤")[2]) for line in lines if "┤" in line]
    assert filled == sorted(filled), "rows further down are filled further to the right"
    objective = next(line for line in lines if "objective" in line)
    assert objective.count("✗") + objective.count("✓") == len(next(n for n in lines if "pool_size" in n).split()) - 1
    assert objective.rindex("✗") < objective.index("✓")
    assert "▲" in lines[-1]


def test_without_sizes_to_draw_there_is_no_picture() -> None:
    assert curve(sized(*LADDER[:2]), 100) == []
    assert curve(sized(), 100) == []


def test_sizes_that_do_not_fit_are_left_out_but_never_the_marked_ones() -> None:
    many = [prediction(size, 0, 0.3 / size, 0.1) for size in range(1, 60)]
    lines = curve(sized(*many), 60)
    shown = next(line for line in lines if "pool_size" in line).split()[1:]
    assert len(shown) < 15
    assert {"1", "5", "14", "59"} <= set(shown)


def test_the_grid_has_a_row_a_size_and_a_column_an_overflow() -> None:
    table = sizing_tables.grid(sized(*LADDER, *GRID))
    assert [column.title for column in table.columns] == ["pool_size", "overflow 0", "overflow 2", "overflow 5"]
    assert [row[0] for row in table.rows] == ["4", "8", "14"]
    assert sizing_tables.grid(sized(*LADDER)).rows == []


def test_runs_at_one_size_share_a_line_and_other_runs_have_their_own() -> None:
    report = sized(*LADDER)
    sizing = report.sizing
    assert sizing is not None
    settings = PoolSettings(8, 0, 1.0, -1.0, False, False)
    tried = [
        Verified(f"run-{n}", settings, LADDER[7], Dist(100, p95=wait), 0.0, met)
        for n, (wait, met) in enumerate([(0.012, True), (0.077, False)])
    ]
    tested = Backtest(0.010, 0.020, 0.0, 0.0, 0.3, ok=True)
    report = replace(report, sizing=replace(sizing, measured=tried, across=[Across("other", settings, "this", tested)]))
    rows = sizing_tables.backtest(report).rows
    assert [row[0] for row in rows] == ["this one, 5 + 0", "8 + 0", "other, 8 + 0, from this"]
    assert rows[1][2] == "12.0 ms / 77.0 ms"
    assert rows[1][-1] == "now met, now missed"
