import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolctl.errors import UsageError
from poolctl.units import format_rate, format_seconds, format_share, parse_duration, parse_rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("12", 12), ("1.5 s", 1.5), ("10us", 1e-5), (3, 3.0)],
)
def test_a_duration_reads_as_people_write_it(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-3s", "5 parsecs", "s", "1s 2", math.inf, math.nan, -1])
def test_what_is_no_duration_is_refused_with_the_name_of_the_setting(text):
    with pytest.raises(UsageError, match="pool_timeout: cannot read") as caught:
        parse_duration(text, "pool_timeout")
    assert "30s" in caught.value.hint


@pytest.mark.parametrize(("text", "rate"), [("50/s", 50), ("300/min", 5), ("7200/h", 2), ("12.5", 12.5), (4, 4.0)])
def test_a_rate_reads_as_people_write_it(text, rate):
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "fast", "-1/s", "5/fortnight", "s"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(UsageError, match="rate: cannot read"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "—"),
        (math.nan, "—"),
        (math.inf, "∞"),
        (0, "0 ms"),
        (3.2e-6, "3.20 µs"),
        (0.00123, "1.23 ms"),
        (0.0482, "48.2 ms"),
        (0.99949, "999 ms"),
        (0.9999, "1.00 s"),
        (62, "62.0 s"),
        (300, "5.00 min"),
        (9000, "2.50 h"),
    ],
)
def test_a_time_is_shown_with_three_digits_and_its_unit(seconds, text):
    assert format_seconds(seconds) == text


def test_rates_and_shares_are_shown_with_three_digits():
    assert format_rate(48.237) == "48.2/s"
    assert format_rate(None) == "—"
    assert format_share(0.00123) == "0.12 %"
    assert format_share(math.nan) == "—"


@given(st.floats(min_value=1e-6, max_value=1e5))
def test_a_shown_time_reads_back_within_its_digits(seconds):
    shown = format_seconds(seconds).replace(",", "")
    assert parse_duration(shown) == pytest.approx(seconds, rel=0.006)
