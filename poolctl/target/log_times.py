"""Log times: when a line was written.

In: the text of a line around its message, or a value of a JSON line. Out: nanoseconds since 1970. A time without a zone
counts as UTC: only differences matter, and local time would jump with the clock change. Which of several times of a
line is its own is learned from a sample. Knows nothing of pools.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

NS = 1_000_000_000
_DAY = 86_400 * NS
_MONTHS = {name: n for n, name in enumerate(re.findall("...", "JanFebMarAprMayJunJulAugSepOctNovDec"), 1)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_FRACTION = r"(?:[.,](\d{1,9}))?"
_ZONE = r"(?: ?(Z|UTC|GMT|[+-]\d\d:?\d\d)(?![\w:]))?"

_PATTERNS: dict[str, re.Pattern[str]] = {
    "iso": re.compile(r"(\d{4}[-/.]\d\d[-/.]\d\d[T _]\d\d:\d\d:\d\d)" + _FRACTION + _ZONE),
    "compact": re.compile(r"(?<!\d)(\d{8}[T _-]\d\d:?\d\d:?\d\d)" + _FRACTION + _ZONE),
    "clf": re.compile(r"(\d\d[/ -][A-Z][a-z]{2}[/ -]\d{4}[: ]\d\d:\d\d:\d\d)" + _FRACTION + _ZONE),
    "syslog": re.compile(r"\b([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)" + _FRACTION + "()"),
    "epoch": re.compile(r"(?<![\w.])(1\d{9})" + _FRACTION + r"()(?![\w.])"),
    "epoch_ms": re.compile(r"(?<![\w.])(1\d{9})(\d{3}|\d{6}|\d{9})()(?![\w.])"),
    "clock": re.compile(r"(?<![\d:])(\d\d:\d\d:\d\d)" + _FRACTION + r"()(?![\d:])"),
}
"""What people write, the more telling first: each gives a whole second, its fraction, its zone."""

_DOUBTFUL = {"epoch": 1, "epoch_ms": 1, "syslog": 2, "clock": 3}
"""Of two times that are equally fine the one with a date is meant: a thread's number may look like an epoch."""


def _iso(text: str) -> int:
    digits = re.sub(r"\D", "", text)
    parts = (digits[:4], digits[4:6], digits[6:8], digits[8:10], digits[10:12], digits[12:14])
    year, month, day, hour, minute, second = (int(part) for part in parts)
    return _seconds(year, month, day, hour, minute, second)


def _clf(text: str) -> int:
    day, month, year, hour, minute, second = re.split(r"[/ :-]", text)
    return _seconds(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second))


def _clock(text: str) -> int:
    hour, minute, second = text.split(":")
    return int(hour) * 3600 + int(minute) * 60 + int(second)


def _seconds(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    leap, second = divmod(second, 60)  # a leap second is the next minute's first
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC) + timedelta(minutes=leap)
    return round((moment - _EPOCH).total_seconds())


@dataclass
class Clock:
    """Reads the times of one log. `now` is when it ended, for formats without a year or a day."""

    now: datetime
    kind: str = ""
    """A key of `_PATTERNS`; empty: not learned, or no time in the lines."""
    nth: int = 0
    """Which match of that pattern in a line, from 0."""
    digits: int = 0
    """Digits of the fraction: 0 whole seconds, 3 milliseconds, 6 microseconds."""
    zoned: bool = False
    """The times say their zone."""
    _second: tuple[str, int] = ("", 0)
    _zone: tuple[str, int] = ("", 0)
    _day: int = 0
    _last: int = 0
    _convert: dict[str, Callable[[str], int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._convert = {
            "iso": _iso,
            "compact": _iso,
            "clf": _clf,
            "syslog": self._syslog,
            "epoch": int,
            "epoch_ms": int,
            "clock": _clock,
        }

    def learn(self, texts: Iterable[str]) -> None:
        """Choose the time of these lines that is in most of them, tells most, and stands nearest to the message."""
        found: dict[tuple[str, int], list[tuple[int, int, bool]]] = {}
        total = 0
        for text in texts:
            total += 1
            for kind, nth, match in all_times(text):
                seen = found.setdefault((kind, nth), [])
                seen.append((len(match[2] or ""), match.start(), bool(match[3])))
        often = {place: seen for place, seen in found.items() if len(seen) >= total * 0.5}
        if not often:
            return

        def telling(place: tuple[str, int]) -> tuple[bool, int, float]:
            seen = often[place]
            fine = max(digits for digits, _, _ in seen) >= 3
            dated = -_DOUBTFUL.get(place[0], 0)
            return fine, dated, sum(start for _, start, _ in seen) / len(seen)

        self.kind, self.nth = max(often, key=telling)
        seen = often[self.kind, self.nth]
        # A fraction of zero is left out by isoformat(): the most digits tell the resolution.
        self.digits = max(digits for digits, _, _ in seen)
        self.zoned = self.kind.startswith("epoch") or any(zoned for _, _, zoned in seen)

    def read(self, text: str) -> tuple[int, int, int] | None:
        """Return (nanoseconds since 1970, start, end of the time in the text); None: the line has no such time."""
        pattern = _PATTERNS.get(self.kind)
        if pattern is None:
            return None
        match = pattern.search(text)
        for _ in range(self.nth):
            if match is None:
                return None
            match = pattern.search(text, match.end())
        if match is None:
            return None
        at = self._instant(self.kind, match)
        return None if at is None else (at, match.start(), match.end())

    def value(self, value: Any) -> int | None:
        """Return the nanoseconds since 1970 of a value of a JSON line; None: it is no time."""
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | float):
            return self._number(value)
        text = str(value)
        for kind in ("iso", "compact", "clf", "epoch", "epoch_ms"):
            match = _PATTERNS[kind].match(text)
            if match:
                self.digits = max(self.digits, len(match[2] or ""))
                self.zoned = self.zoned or bool(match[3]) or kind.startswith("epoch")
                return self._instant(kind, match)
        return None

    @property
    def resolution_s(self) -> float:
        """The step of the times, in seconds."""
        return float(10.0**-self.digits)

    def _instant(self, kind: str, match: re.Match[str]) -> int | None:
        whole, fraction, zone = match.groups()
        if whole != self._second[0]:
            try:
                self._second = (whole, self._convert[kind](whole))
            except (ValueError, KeyError):  # the 40th of May
                return None
        at = self._second[1] * NS
        if fraction:
            at += int(fraction) * 10 ** (9 - len(fraction))
        if zone:
            at -= self._offset(zone)
        return self._roll(at) if kind == "clock" else at

    def _number(self, value: float) -> int | None:
        """Seconds, milliseconds, microseconds or nanoseconds since 1970, told by their size."""
        for scale, least, digits in ((1, 1e17, 9), (1_000, 1e14, 6), (1_000_000, 1e11, 3), (NS, 1e8, 0)):
            if value >= least:
                self.digits = max(self.digits, digits + (0 if isinstance(value, int) else 6 if scale == NS else 3))
                self.zoned = True
                return int(value) * scale if isinstance(value, int) else round(value * scale)
        return None

    def _offset(self, zone: str) -> int:
        if zone != self._zone[0]:
            digits = re.sub(r"\D", "", zone)
            ahead = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * NS if digits else 0
            self._zone = (zone, -ahead if zone[0] == "-" else ahead)
        return self._zone[1]

    def _roll(self, at: int) -> int:
        """A clock without a date: going back by half a day is midnight."""
        if not self._day:
            today = self.now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            self._day = round((today - _EPOCH).total_seconds()) * NS
        elif at < self._last - _DAY // 2:
            self._day += _DAY
        self._last = at
        return at + self._day

    def _syslog(self, text: str) -> int:
        """No year: the one that puts it before `now`, give or take a day for zones."""
        month, day, clock = text.replace("  ", " 0").split()
        hour, minute, second = (int(part) for part in clock.split(":"))
        for year in (self.now.year, self.now.year - 1):
            try:
                found = _seconds(year, _MONTHS[month], int(day), hour, minute, second)
            except ValueError:  # 29 February
                continue
            if found <= self.now.timestamp() + 86_400:
                return found
        raise ValueError(text)


def all_times(text: str) -> list[tuple[str, int, re.Match[str]]]:
    """Return every time in a text that is no part of a more telling one."""
    taken: list[tuple[int, int]] = []
    found = []
    for kind, pattern in _PATTERNS.items():
        for nth, match in enumerate(pattern.finditer(text)):
            if all(match.end() <= start or match.start() >= end for start, end in taken):
                taken.append(match.span())
                found.append((kind, nth, match))
    return found


def without_times(text: str) -> str:
    """Return the text with a blank for every time with a clock in it: their numbers are no others'."""
    for kind, _, match in sorted(all_times(text), key=lambda item: -item[2].start()):
        if not kind.startswith("epoch"):  # may as well be a thread's number
            text = text[: match.start()] + " " + text[match.end() :]
    return text
