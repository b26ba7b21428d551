"""The live view: a screen for a terminal, lines for a pipe, silence when asked for."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from poolctl.analysis.live import Progress
from poolctl.report.live import PAST, Screen, frame, line, open_view

NOW = Progress(
    elapsed_s=14.2,
    duration_s=30.0,
    phase="running",
    arrivals=612,
    operations=598,
    checked_out=9,
    idle=3,
    overflow=4,
    waiting=23,
    open=12,
    timed_out=12,
    failed=0,
    skipped=0,
    p95_acquire_s=0.212,
    p95_hold_s=0.0812,
    achieved_per_s=43.1,
)
PAST_STATES = [replace(NOW, elapsed_s=i / 5, checked_out=i % 16, waiting=max(0, i % 40 - 20)) for i in range(70)] + [
    NOW
]


def drawn(past: list[Progress], capacity: int | None, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, highlight=False).print(frame("bursty", past, capacity, width))
    return out.getvalue().splitlines()


def test_a_frame_shows_what_matters() -> None:
    text = "\n".join(drawn(PAST_STATES, 15, 80))
    for part in (
        "bursty", "running, 14 s of 30.0 s", "612, 43.1/s", "598", "12 timed out",
        "9 of 15", "3 idle, 4 overflow", "23, peak 23", "acquire 212 ms, hold 81.2 ms",
    ):  # fmt: skip
        assert part in text
    assert "failed" not in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("capacity", [15, 500, None])
def test_a_frame_fits_its_width_and_has_always_as_many_lines(width: int, capacity: int | None) -> None:
    busy = replace(NOW, arrivals=1_234_567, operations=1_234_000, waiting=12_345, timed_out=99_999, failed=3, skipped=7)
    heights = set()
    for past in (PAST_STATES, [NOW], [replace(NOW, elapsed_s=0.0, duration_s=None, p95_hold_s=None)], [NOW, busy]):
        lines = drawn(past, capacity, width)
        assert [text for text in lines if cell_len(text) > width] == []
        heights.add(len(lines))
    assert heights == {7}


def test_the_bar_has_a_part_for_each_state_of_a_connection() -> None:
    (bar,) = [text for text in drawn([NOW], 15, 80) if "of 15" in text]
    marks = bar[35:]
    counts = [marks.count(mark) for mark in "█▒·"]
    assert sum(counts) == len(marks)
    assert counts[0] == pytest.approx(len(marks) * 9 / 15, abs=1)
    assert counts[1] == pytest.approx(len(marks) * 3 / 15, abs=1)


def test_a_pipe_gets_a_line_every_few_seconds_and_one_for_each_phase() -> None:
    out = io.StringIO()
    with open_view(out, "bursty", 15, terminal=False, color=False, quiet=False) as view:
        for i in range(60):
            view.update(replace(NOW, elapsed_s=i / 5))
        view.update(replace(NOW, elapsed_s=12.0, phase="draining"))
    lines = out.getvalue().splitlines()
    assert [text.split(" · ")[0] for text in lines] == [
        "bursty: running, 0 s of 30.0 s",
        "bursty: running, 5 s of 30.0 s",
        "bursty: running, 10 s of 30.0 s",
        "bursty: draining, 12 s of 30.0 s",
    ]
    assert "\x1b" not in out.getvalue()


def test_before_the_first_arrival_there_is_only_the_phase() -> None:
    assert line(replace(NOW, arrivals=0, phase="setting up")) == "setting up"


def test_a_line_names_troubles_only_when_there_are_any() -> None:
    assert line(NOW).endswith("hold 81.2 ms · 12 timed out")
    assert "timed out" not in line(replace(NOW, timed_out=0))


def test_quiet_is_silent() -> None:
    out = io.StringIO()
    with open_view(out, "bursty", 15, terminal=True, color=True, quiet=True) as view:
        view.update(NOW)
    assert out.getvalue() == ""


def test_the_screen_is_gone_and_the_cursor_back_after_an_interrupt() -> None:
    out = io.StringIO()

    def interrupted() -> None:
        with Screen(out, "bursty", 15, color=True, width=80) as view:
            view.update(NOW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = out.getvalue()
    assert text.index("\x1b[?25l") < text.index("bursty") < text.rindex("\x1b[?25h")
    after = text[text.rindex("bursty") :]
    lines_up = len(re.findall(r"\x1b\[1A", after))
    assert lines_up >= len(drawn([NOW], 15, 80)) - 1


def test_the_screen_without_colour_moves_the_cursor_but_paints_nothing() -> None:
    out = io.StringIO()
    with Screen(out, "bursty", 15, color=False, width=80) as view:
        view.update(NOW)
    assert re.findall(r"\x1b\[[0-9;]*m", out.getvalue()) == []


def test_a_long_run_does_not_remember_without_end() -> None:
    screen = Screen(io.StringIO(), "bursty", 15, color=False, width=80)
    for i in range(5 * PAST):
        screen.update(replace(NOW, elapsed_s=i / 5))
    assert len(screen._past) <= PAST
    assert screen._past[-1].elapsed_s == (5 * PAST - 1) / 5


def test_a_pipe_that_closed_does_not_end_the_run() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    view = open_view(Closed(), "bursty", 15, terminal=False, color=False, quiet=False)
    view.update(NOW)
    view.update(replace(NOW, elapsed_s=20.0))
