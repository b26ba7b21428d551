"""Numbers become block characters without losing a peak."""

from __future__ import annotations

from poolctl.report.chart import area, resample, stretch


def test_a_peak_survives_being_squeezed() -> None:
    values = [0.0] * 997
    values[501] = 9.0
    for width in (1, 7, 60, 996):
        assert max(resample(values, width)) == 9.0
        assert len(resample(values, width)) == width


def test_few_values_are_repeated_to_fill_the_width() -> None:
    assert stretch([1.0, 2.0], 5) == [1.0, 1.0, 1.0, 2.0, 2.0]
    assert stretch([], 3) == [0.0, 0.0, 0.0]


def test_the_lowest_value_above_zero_is_seen_and_zero_is_not() -> None:
    assert area([0, 0.001, 50, 100], 100) == [" ▁▄█"]


def test_a_value_above_the_top_does_not_overflow_the_chart() -> None:
    assert area([200], 100, height=2) == ["█", "█"]


def test_the_rows_of_an_area_stand_on_each_other() -> None:
    assert area([0, 1, 2, 3, 4], 4, height=2) == ["   ▄█", " ▄███"]


def test_nothing_to_scale_by_draws_nothing() -> None:
    assert area([0, 0], 0) == ["  "]
