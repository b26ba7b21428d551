"""Live: what a run is doing, while it does it.

In: raw records as they are drained, in pieces, from any number of processes. Out: `Progress`, a frozen record for a
live view. It costs some microseconds a record and forgets what is older than the window. Knows nothing of files and
shows nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from poolctl.analysis.records import Array, split
from poolctl.clock import NS
from poolctl.trace.events import Flag, Kind

WINDOW_S = 5.0
"""The moving quantiles and the rate look back so far."""
PAST_S = 120
"""Seconds of history that are kept."""


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the run, for a sparkline."""

    at_s: int
    """Its beginning, seconds since the run began."""
    arrivals: int
    checked_out: int
    """At the end of what was seen of this second."""
    waiting: int
    timed_out: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run at an instant: totals since it began, gauges now, quantiles of the last seconds."""

    elapsed_s: float
    duration_s: float | None
    """As planned; None: open-ended."""
    phase: str
    arrivals: int
    """Requests for a connection."""
    operations: int
    """Operations that ended."""
    checked_out: int
    idle: int
    overflow: int
    waiting: int
    """Requests that have no answer yet."""
    open: int
    """Connections."""
    timed_out: int
    failed: int
    """Failed operations and failed requests, whichever are more: a failed request fails its operation."""
    skipped: int
    p95_acquire_s: float | None
    p95_hold_s: float | None
    achieved_per_s: float
    """Requests a second, over the last seconds."""
    history: tuple[Second, ...] = ()


class LiveWindow:
    """Counts records as they come. One thread at a time.

    `begin` says when the run's second 0 is; without it, it is the first record. `pool_size` is that of all processes
    together; without it, overflow is counted from the checkouts that say so.
    """

    def __init__(self, duration_s: float | None = None, pool_size: int | None = None) -> None:
        self._duration_s = duration_s
        self._pool_size = pool_size
        self._began: int | None = None
        self._requests = self._answered = self._checked_out = self._ended = 0
        self._operations = self._timed_out = self._failed_requests = self._failed_operations = self._skipped = 0
        self._opened = self._closed = self._overflow = 0
        self._holding: dict[int, tuple[int, bool]] = {}
        self._acquires: deque[tuple[Array, Array]] = deque()
        self._holds: deque[tuple[Array, Array]] = deque()
        self._asked: deque[tuple[Array, Array]] = deque()
        self._seconds: dict[int, Second] = {}

    def begin(self, at: int) -> None:
        """Set second 0 of the run (monotonic nanoseconds)."""
        self._began = at

    def feed(self, raw: bytes | memoryview) -> None:
        """Take whole records."""
        found = split(raw)
        if not found:
            return
        if self._began is None:
            self._began = int(min(rows["at"].min() for rows in found.values()))
        for kind, take in (
            (Kind.REQUEST, self._take_requests),
            (Kind.CHECKOUT, self._take_checkouts),
            (Kind.REFUSED, self._take_refusals),
            (Kind.CHECKIN, self._take_ends),
            (Kind.DETACH, self._take_ends),
            (Kind.OPERATION, self._take_operations),
        ):
            if kind in found:
                take(found[kind])
        if Kind.CONNECT in found:
            self._opened += int((found[Kind.CONNECT]["flags"] & int(Flag.ERROR) == 0).sum())
        self._closed += len(found.get(Kind.CLOSE, ()))
        self._note_second(found)

    def progress(self, now: int, phase: str = "running") -> Progress:
        """Return the state at `now` (monotonic nanoseconds)."""
        since = now - int(WINDOW_S * NS)
        elapsed = 0.0 if self._began is None else max(0.0, (now - self._began) / NS)
        acquires, holds, asked = (_recent(values, since) for values in (self._acquires, self._holds, self._asked))
        checked_out = self._checked_out - self._ended
        opened = max(self._opened - self._closed, checked_out)
        return Progress(
            elapsed_s=elapsed,
            duration_s=self._duration_s,
            phase=phase,
            arrivals=self._requests,
            operations=self._operations,
            checked_out=max(0, checked_out),
            idle=max(0, opened - checked_out),
            overflow=self._overflow if self._pool_size is None else max(0, opened - self._pool_size),
            waiting=max(0, self._requests - self._answered),
            open=max(0, opened),
            timed_out=self._timed_out,
            failed=max(self._failed_operations, self._failed_requests),
            skipped=self._skipped,
            p95_acquire_s=_p95(acquires),
            p95_hold_s=_p95(holds),
            achieved_per_s=len(asked) / min(max(elapsed, 1.0), WINDOW_S),
            history=tuple(self._seconds.values()),
        )

    def _take_requests(self, rows: Array) -> None:
        ours = rows[rows["lease"] != 0]
        self._requests += len(ours)
        self._asked.append((ours["at"].copy(), ours["at"].copy()))

    def _take_checkouts(self, rows: Array) -> None:
        self._answered += len(rows)
        self._checked_out += len(rows)
        self._acquires.append((rows["at"].copy(), rows["wait"] + rows["connect"] + rows["ping"]))
        beyond = rows["flags"] & int(Flag.OVERFLOW) != 0
        self._overflow += int(beyond.sum())
        self._holding.update(
            zip(rows["lease"].tolist(), zip(rows["at"].tolist(), beyond.tolist(), strict=True), strict=True)
        )

    def _take_refusals(self, rows: Array) -> None:
        self._answered += len(rows)
        timed_out = rows["flags"] & int(Flag.TIMED_OUT) != 0
        self._timed_out += int(timed_out.sum())
        self._failed_requests += int((~timed_out & (rows["flags"] & int(Flag.CANCELLED) == 0)).sum())
        late = rows[timed_out]
        self._acquires.append((late["at"].copy(), late["wait"] + late["connect"] + late["ping"]))

    def _take_ends(self, rows: Array) -> None:
        instants, holds = [], []
        for lease, at in zip(rows["lease"].tolist(), rows["at"].tolist(), strict=True):
            began = self._holding.pop(lease, None)
            if began is not None:  # a lease of another process may bear the same number: then one hold is not timed
                instants.append(at)
                holds.append(at - began[0])
                self._overflow -= began[1]
        self._ended += int((rows["lease"] != 0).sum())
        self._holds.append((np.array(instants, np.int64), np.array(holds, np.int64)))

    def _take_operations(self, rows: Array) -> None:
        flags = rows["flags"]
        skipped = flags & int(Flag.SKIPPED) != 0
        self._skipped += int(skipped.sum())
        self._operations += int((~skipped).sum())
        stopped = int(Flag.TIMED_OUT | Flag.CANCELLED)
        self._failed_operations += int(((flags & int(Flag.ERROR) != 0) & (flags & stopped == 0)).sum())

    def _note_second(self, found: dict[Kind, Array]) -> None:
        latest = max(int(rows["at"].max()) for rows in found.values())
        number = max(0, (latest - (self._began or 0)) // NS)
        arrived = len(found.get(Kind.REQUEST, ()))
        refused = found.get(Kind.REFUSED)
        lost = 0 if refused is None else int((refused["flags"] & int(Flag.TIMED_OUT) != 0).sum())
        before = self._seconds.pop(number, Second(number, 0, 0, 0, 0))
        out, waiting = self._checked_out - self._ended, self._requests - self._answered
        self._seconds[number] = Second(number, before.arrivals + arrived, out, waiting, before.timed_out + lost)
        while len(self._seconds) > PAST_S:
            del self._seconds[next(iter(self._seconds))]


def _recent(pieces: deque[tuple[Array, Array]], since: int) -> Array:
    """Forget the pieces that lie wholly before `since`; return the values from then on."""
    while pieces and (not len(pieces[0][0]) or pieces[0][0].max() < since):
        pieces.popleft()
    if not pieces:
        return np.empty(0, np.int64)
    instants, values = (np.concatenate([piece[side] for piece in pieces]) for side in (0, 1))
    recent: Array = values[instants >= since]
    return recent


def _p95(nanoseconds: Array) -> float | None:
    """The p95 in seconds, of whatever there is: a glance at a live view, not a measurement."""
    if not len(nanoseconds):
        return None
    rank = max(0, -(-95 * len(nanoseconds) // 100) - 1)
    return float(np.partition(nanoseconds, rank)[rank]) / NS
