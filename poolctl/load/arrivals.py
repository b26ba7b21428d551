"""Arrivals: when work comes. Open models know the instants before the run; the closed model has clients instead.

In: rates and durations as a scenario writes them, and a source of numbers in [0, 1) from the tape. Out: intended
instants in seconds. Knows nothing of transactions.

An open process is a rate over time. Poisson arrivals follow by stretching time: with Λ(t) the integral of the rate,
arrival k comes at Λ⁻¹(E1 + … + Ek), the E exponential with mean 1 (Çinlar 1975). Scaling a rate keeps the E, and a
shorter run is the beginning of a longer one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolctl.errors import InputError, UsageError
from poolctl.load.draws import Constant, Draw
from poolctl.units import format_rate, format_seconds, parse_duration, parse_rate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Source = Callable[[int], Floats]
    """Returns that many numbers in [0, 1); goes on where it stopped."""

CHUNK = 4096
"""Exponentials drawn at once. Part of the tape's meaning: sums run chunk by chunk, so changing it changes digests."""


class Arrivals(ABC):
    """An open model: the instants do not depend on what the target does."""

    @property
    @abstractmethod
    def rate(self) -> float:
        """Arrivals per second over a whole cycle; what `--rate` sets."""

    @abstractmethod
    def at_rate(self, rate: float) -> Arrivals:
        """Return the same shape with another `rate` (per second)."""

    @abstractmethod
    def instants(self, source: Source, duration_s: float) -> Floats:
        """Return the intended instants before `duration_s`, ascending, in seconds."""

    @abstractmethod
    def __str__(self) -> str:
        """Return what it is in a few words."""

    @property
    def cycle_s(self) -> float:
        """Seconds after which everything it does has been seen once; a shorter run knows only a part of it."""
        return 0.0

    def names(self) -> list[str] | None:
        """Return the transaction each instant asks for (a trace file), or None: drawn by weight."""
        return None


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed model: each client runs one operation after the other. See `closed`."""

    clients: int
    think: Draw
    """Seconds between the end of one operation and the start of the next, outside the hold."""

    def __str__(self) -> str:
        return f"{self.clients} clients in a loop"


@dataclass(frozen=True, slots=True)
class RateProfile(Arrivals):
    """Poisson arrivals whose rate follows straight pieces of (seconds, rate at its start, rate at its end)."""

    pieces: tuple[tuple[float, float, float], ...]
    again: bool
    """The pieces repeat; else the last rate stays."""
    text: str

    @property
    def rate(self) -> float:
        """The mean over a cycle; without cycles the rate that stays."""
        if not self.again:
            return self.pieces[-1][2]
        return sum(s * (a + b) / 2 for s, a, b in self.pieces) / sum(s for s, _, _ in self.pieces)

    @property
    def cycle_s(self) -> float:
        """The length of its pieces; a constant rate has no cycle."""
        return sum(s for s, _, _ in self.pieces) if len({r for _, *ends in self.pieces for r in ends}) > 1 else 0.0

    def at_rate(self, rate: float) -> RateProfile:
        """Scale every piece."""
        by = rate / self.rate
        pieces = tuple((s, a * by, b * by) for s, a, b in self.pieces)
        return replace(self, pieces=pieces, text=f"{self.text}, scaled to {format_rate(rate)}")

    def instants(self, source: Source, duration_s: float) -> Floats:
        """Λ⁻¹ of a Poisson process with rate 1."""
        import numpy as np

        pieces = np.array(self._unrolled(duration_s), dtype=np.float64).reshape(-1, 3)
        starts = np.concatenate(([0.0], np.cumsum(pieces[:, 0])))
        expected = np.concatenate(([0.0], np.cumsum(pieces[:, 0] * (pieces[:, 1] + pieces[:, 2]) / 2)))
        marks = _unit_poisson(source, float(expected[-1]))
        piece = np.searchsorted(expected, marks, side="right") - 1
        rest = marks - expected[piece]
        length, first, last = pieces[piece].T
        slope = (last - first) / length
        # rest = first·t + slope·t²/2, solved for t without cancellation
        with np.errstate(invalid="ignore"):
            within = 2 * rest / (first + np.sqrt(np.maximum(first**2 + 2 * slope * rest, 0.0)))
        at = starts[piece] + np.nan_to_num(within)
        kept: Floats = at[at < duration_s]
        return kept

    def _unrolled(self, duration_s: float) -> list[tuple[float, float, float]]:
        rows: list[tuple[float, float, float]] = []
        passed = 0.0
        while passed < duration_s:
            rows += self.pieces
            passed += sum(s for s, _, _ in self.pieces)
            if not self.again and passed < duration_s:
                rows.append((duration_s - passed, self.pieces[-1][2], self.pieces[-1][2]))
                break
        return rows

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Batches(Arrivals):
    """`size` arrivals in the same instant, every `every_s` seconds. See `batch_of`."""

    size: int
    every_s: float

    @property
    def rate(self) -> float:
        """Size over interval."""
        return self.size / self.every_s

    def at_rate(self, rate: float) -> Batches:
        """The same batches, nearer together or farther apart."""
        return Batches(self.size, self.size / rate)

    def instants(self, source: Source, duration_s: float) -> Floats:  # noqa: ARG002 - nothing random
        """The first batch comes at 0."""
        import numpy as np

        return np.repeat(np.arange(math.ceil(duration_s / self.every_s)) * self.every_s, self.size)

    def __str__(self) -> str:
        return f"{self.size} at once every {format_seconds(self.every_s)}"


@dataclass(frozen=True, slots=True)
class Recorded(Arrivals):
    """Instants from a file. See `from_file`."""

    path: Path
    at: tuple[float, ...]
    transactions: tuple[str, ...] | None
    stretch: float = 1.0

    @property
    def rate(self) -> float:
        """Arrivals over the time they span."""
        span = self.at[-1] * self.stretch
        return len(self.at) / span if span > 0 else float(len(self.at))

    @property
    def cycle_s(self) -> float:
        """The time the file spans."""
        return self.at[-1] * self.stretch

    def at_rate(self, rate: float) -> Recorded:
        """The same instants, stretched or squeezed."""
        return replace(self, stretch=self.stretch * self.rate / rate)

    def instants(self, source: Source, duration_s: float) -> Floats:  # noqa: ARG002 - nothing random
        """The file's instants."""
        import numpy as np

        at = np.array(self.at, dtype=np.float64) * self.stretch
        return at[at < duration_s]

    def names(self) -> list[str] | None:
        """The file's second column."""
        return list(self.transactions) if self.transactions else None

    def __str__(self) -> str:
        return f"{len(self.at)} arrivals from {self.path.name}"


def poisson(rate: float | str) -> Arrivals:
    """Independent arrivals at a constant rate: `poisson("50/s")`, or a number per second."""
    per_second = _rate(rate, "poisson(rate)")
    return RateProfile(((1.0, per_second, per_second),), again=True, text=f"Poisson, {format_rate(per_second)}")


def on_off(quiet: float | str, burst: float | str, quiet_for: float | str, burst_for: float | str) -> Arrivals:
    """Poisson arrivals that alternate: `quiet` (rate) for `quiet_for`, then `burst` for `burst_for`, and again."""
    low, high = _rate(quiet, "on_off(quiet)", zero=True), _rate(burst, "on_off(burst)")
    calm, busy = _length(quiet_for, "on_off(quiet_for)"), _length(burst_for, "on_off(burst_for)")
    text = f"{format_rate(low)} for {format_seconds(calm)}, then {format_rate(high)} for {format_seconds(busy)}"
    return RateProfile(((calm, low, low), (busy, high, high)), again=True, text=text)


def ramp(start: float | str, end: float | str, over: float | str) -> Arrivals:
    """Poisson arrivals whose rate goes from `start` to `end` in the time `over`, and stays there."""
    low, high, time = _rate(start, "ramp(start)", zero=True), _rate(end, "ramp(end)"), _length(over, "ramp(over)")
    text = f"from {format_rate(low)} to {format_rate(high)} in {format_seconds(time)}"
    return RateProfile(((time, low, high),), again=False, text=text)


def batch_of(size: int, every: float | str) -> Arrivals:
    """`size` arrivals in the same instant, at 0 and again every `every`: a cron job, an expired cache."""
    if size < 1:
        raise UsageError(f"batch_of({size}): give 1 or more", "correct it in the scenario")
    return Batches(size, _length(every, "batch_of(every)"))


def from_file(path: str | Path) -> Arrivals:
    """Arrivals from a text file: one line each, `seconds` or `seconds,transaction`; `#` begins a comment.

    The instants count from 0. Raises InputError naming file and line.
    """
    file = Path(path)
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise InputError(f"cannot read the arrivals file {file}: {error.strerror}", "check the path") from None
    rows: list[tuple[float, str]] = []
    for number, line in enumerate(lines, 1):
        seconds, _, name = line.partition("#")[0].partition(",")
        if not seconds.strip():
            continue
        try:
            rows.append((_instant(seconds), name.strip()))
        except ValueError:
            hint = "write each line as `seconds` or `seconds,transaction`"
            raise InputError(f"{file}:{number}: {seconds.strip()!r} is not an instant", hint) from None
    if not rows:
        raise InputError(f"{file} holds no arrivals", "write each line as `seconds` or `seconds,transaction`")
    rows.sort(key=lambda row: row[0])
    named = all(name for _, name in rows)
    if not named and any(name for _, name in rows):
        raise InputError(f"{file} names the transaction on some lines only", "name it on all lines or on none")
    return Recorded(file, tuple(at for at, _ in rows), tuple(name for _, name in rows) if named else None)


def closed(clients: int, think: float | str | Draw = 0.0) -> Closed:
    """`clients` that each run one operation after the other, with `think` (seconds, text, or a draw) in between."""
    if clients < 1:
        raise UsageError(f"closed({clients}): give 1 client or more", "correct it in the scenario")
    return Closed(clients, think if isinstance(think, Draw) else Constant(parse_duration(think, "closed(think)")))


def _unit_poisson(source: Source, until: float) -> Floats:
    import numpy as np

    chunks: list[Any] = []
    last = 0.0
    while last < until:
        sums = last + np.cumsum(-np.log1p(-source(CHUNK)))
        last = float(sums[-1])
        chunks.append(sums)
    marks = np.concatenate(chunks) if chunks else np.empty(0)
    return marks[marks < until]


def _rate(value: float | str, what: str, *, zero: bool = False) -> float:
    rate = parse_rate(value, what)
    if rate > 0 or (zero and rate == 0):
        return rate
    raise UsageError(f"{what}: must be more than 0", "write it as 50/s or 300/min")


def _length(value: float | str, what: str) -> float:
    seconds = parse_duration(value, what)
    if seconds > 0:
        return seconds
    raise UsageError(f"{what}: must be more than 0", "write it as 500ms or 10s")


def _instant(text: str) -> float:
    value = float(text)
    if value < 0 or not math.isfinite(value):
        raise ValueError(text)
    return value
