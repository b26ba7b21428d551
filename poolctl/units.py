"""Durations, rates and shares as people write them, both ways. Seconds and events per second inside."""

from __future__ import annotations

import math
import re

from poolctl.errors import UsageError

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_PART = re.compile(_NUMBER + r"\s*(ns|us|µs|ms|min|s|m|h)")
_RATE = re.compile(_NUMBER + r"\s*(?:/\s*(s|min|m|h))?")


def parse_duration(text: str | float, what: str = "duration") -> float:
    """Return the seconds in `text`: `250ms`, `30s`, `5m`, `1h30m`; a bare number is seconds.

    Raises UsageError, naming `what`, for anything else.
    """
    if isinstance(text, int | float):
        value = float(text)
        if value >= 0 and math.isfinite(value):
            return value
    else:
        stripped = text.strip().lower()
        if re.fullmatch(_NUMBER, stripped):
            return float(stripped)
        parts = _PART.findall(stripped)
        if parts and re.fullmatch(rf"(?:{_PART.pattern}\s*)+", stripped):
            return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    raise UsageError(f"{what}: cannot read {text!r} as a duration", "write it as 250ms, 30s, 5m or 1h30m")


def parse_rate(text: str | float, what: str = "rate") -> float:
    """Return the events per second in `text`: `50/s`, `300/min`; a bare number is per second.

    Raises UsageError, naming `what`, for anything else.
    """
    if isinstance(text, int | float):
        if text >= 0 and math.isfinite(text):
            return float(text)
    elif match := _RATE.fullmatch(text.strip().lower()):
        number, unit = match.groups()
        return float(number) / _SECONDS[unit or "s"]
    raise UsageError(f"{what}: cannot read {text!r} as a rate", "write it as 50/s or 300/min")


def format_seconds(seconds: float | None) -> str:
    """Return a duration with three significant digits and its unit; `—` for None or NaN."""
    if seconds is None or math.isnan(seconds):
        return "—"
    if math.isinf(seconds):
        return "∞"
    size = abs(seconds)
    if size == 0:
        return "0 ms"
    if size < 9.995e-4:
        return f"{_digits(seconds * 1e6)} µs"
    if size < 0.9995:
        return f"{_digits(seconds * 1e3)} ms"
    if size < 119.5:
        return f"{_digits(seconds)} s"
    if size < 7170:
        return f"{_digits(seconds / 60)} min"
    return f"{_digits(seconds / 3600)} h"


def format_rate(per_second: float | None) -> str:
    """Return events per second with three significant digits; `—` for None."""
    return "—" if per_second is None else f"{_digits(per_second)}/s"


def format_share(share: float | None) -> str:
    """Return a share of one as a percentage; `—` for None or NaN."""
    if share is None or math.isnan(share):
        return "—"
    return f"{_digits(share * 100)} %"


def _digits(value: float) -> str:
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}"
