"""How a configured value is read: from TOML or a parsed option as it is, from the environment as text.

In: a raw value and the place it stands at, for the message. Out: the value a command uses, or UsageError naming the
place. Knows no key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from poolctl.errors import UsageError
from poolctl.redact import redact_value
from poolctl.units import parse_duration, parse_rate

Reader = Callable[[Any, str], Any]
"""(value, place) → what a command uses. Raises UsageError, naming the place."""


def wrong(place: str, value: Any, expected: str) -> UsageError:
    """Return the error for a value that is not what was expected, secrets out."""
    shown = redact_value(place, value)
    return UsageError(f"{place}: {shown!r} is not {expected}", f"give {expected}")


def text(value: Any, place: str) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise wrong(place, value, "a text")
    return value.strip()


def texts(value: Any, place: str) -> tuple[str, ...]:
    """Read a list of texts."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item.strip() for item in value):
        raise wrong(place, value, "a list of texts")
    return tuple(item.strip() for item in value)


def flag(value: Any, place: str) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise wrong(place, value, "true or false")
    return value


def whole(least: int) -> Reader:
    """Return a reader of whole numbers from `least` on."""

    def read(value: Any, place: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise wrong(place, value, f"a whole number of {least} or more")
        return value

    return read


NATURAL, POSITIVE, OR_UNLIMITED = whole(0), whole(1), whole(-1)


def duration(value: Any, place: str) -> float:
    """Read a time of more than 0, in seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong(place, value, "a duration like 250ms, 30s or 5m")
    seconds = parse_duration(value, place)
    if seconds <= 0:
        raise wrong(place, value, "a duration of more than 0")
    return seconds


def window(value: Any, place: str) -> float:
    """Read a time in seconds, or 0 for none."""
    return 0.0 if value in (0, "0", "0s") and not isinstance(value, bool) else duration(value, place)


def recycle(value: Any, place: str) -> float:
    """Read a time in seconds, or -1 for never."""
    return -1.0 if value in (-1, "-1", -1.0) else duration(value, place)


def rate(value: Any, place: str) -> float:
    """Read a rate of more than 0, per second."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong(place, value, "a rate like 50/s")
    per_second = parse_rate(value, place)
    if per_second <= 0:
        raise wrong(place, value, "a rate of more than 0")
    return per_second


def one_of(*choices: str) -> Reader:
    """Return a reader of one of these words."""

    def read(value: Any, place: str) -> str:
        if value not in choices:
            raise wrong(place, value, f"one of {', '.join(choices)}")
        return str(value)

    return read


def threshold(name: str) -> Reader:
    """Return the reader of a threshold: a time for a name in seconds, otherwise a number or a percentage."""
    if name.endswith("_s"):
        return duration

    def read(value: Any, place: str) -> float:
        number: float = math.nan
        if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", value)):
            number = float(match[1]) / (100 if match[2] else 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
        if not (number >= 0 and math.isfinite(number)):
            raise wrong(place, value, "a number or a percentage, 0 or more")
        if name == "long_hold_quantile" and number >= 1:
            raise wrong(place, value, "a share below 1")
        return number

    return read


def _whole_from_text(value: str, place: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise wrong(place, value, "a whole number") from None


def _flag_from_text(value: str, place: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if value.lower() not in words:
        raise wrong(place, value, "true or false")
    return words[value.lower()]


TEXT_FORMS: dict[Reader, Reader] = {
    **dict.fromkeys((NATURAL, POSITIVE, OR_UNLIMITED), _whole_from_text),
    flag: _flag_from_text,
}
"""How a variable of the environment, always a text, becomes what TOML would have given."""
