"""The pool's settings, its slots, and the shape of what goes into and comes out of the pool model.

In: nothing. Out: `Rules`, `Work`, `Outcome`, and `Slots`, the state that every engine of the model shares. Knows no
clock: the engines (`pool_model`, `pool_events`, `database_model`) keep the events.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

THREAD_WAKE_S = 60e-6
"""What a woken thread needs until it takes the connection (measured with Python 3.11: 40–60 µs)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of one pool."""

    pool_size: int
    """0: unlimited."""
    max_overflow: int = 0
    """-1: unlimited."""
    pool_timeout_s: float = 30.0
    pool_recycle_s: float = -1.0
    """-1: never."""
    lifo: bool = False
    wake_s: float = 0.0
    """Time between a return and the woken waiter's grasp; 0 in async, THREAD_WAKE_S for threads."""

    @property
    def capacity(self) -> float:
        """How many connections may be out or open at once."""
        unlimited = self.pool_size == 0 or self.max_overflow < 0
        return math.inf if unlimited else self.pool_size + self.max_overflow


class End(IntEnum):
    """How a request ended in the model."""

    RETURNED = 0
    TIMED_OUT = 1
    FAILED = 2
    """Its connect failed."""


@dataclass(frozen=True)
class Work:
    """Requests to one pool, in the order of `requested_at_s`. Every array has one entry a request; seconds."""

    requested_at_s: Floats
    hold_s: Floats
    """Checkout to checkin, reset included."""
    connect_s: Floats
    """What opening a connection costs if this request has to."""
    close_s: float = 0.0
    """What closing one costs; the slot is held meanwhile."""
    ping_s: float = 0.0
    """Pre-ping of a connection that was idle."""
    connect_fails: npt.NDArray[np.bool_] | None = None
    next_request: Ints | None = None
    """Closed loop: the index of the same client's next request, -1 for none. Its `requested_at_s` is then not used."""
    think_s: Floats | None = None
    """Closed loop: from the end of the client's previous request to this one."""

    def __len__(self) -> int:
        return len(self.requested_at_s)

    @cached_property
    def lists(self) -> tuple[list[float], list[float], list[float]]:
        """Instants, holds and connects as Python's floats: converted once for all sizes that are tried."""
        return self.requested_at_s.tolist(), self.hold_s.tolist(), self.connect_s.tolist()


@dataclass(frozen=True)
class Outcome:
    """What the model did with each request; arrays in the order of the work."""

    requested_at_s: Floats
    granted_at_s: Floats
    """The slot was theirs (an idle connection, or the right to open one); NaN: never."""
    acquired_at_s: Floats
    """The connection was usable: after connect or ping; NaN: never."""
    ended_at_s: Floats
    """Returned, timed out or failed."""
    end: npt.NDArray[np.int8]
    """`End` of each."""
    opened: npt.NDArray[np.bool_]
    """The request opened (or reopened) a connection."""
    peak_open: int
    """Most slots in use or idle at once."""

    @property
    def wait_s(self) -> Floats:
        """Request to slot; a timed-out request waited until it gave up."""
        granted = np.where(self.end == End.TIMED_OUT, self.ended_at_s, self.granted_at_s)
        return granted - self.requested_at_s

    @property
    def acquire_s(self) -> Floats:
        """Request to usable connection (or to giving up)."""
        acquired = np.where(np.isnan(self.acquired_at_s), self.ended_at_s, self.acquired_at_s)
        return acquired - self.requested_at_s

    @property
    def timeout_rate(self) -> float:
        """Share of the requests that timed out."""
        return float(np.mean(self.end == End.TIMED_OUT)) if len(self.end) else 0.0


OPEN = -2.0
WAIT = -1.0
NEW = -1.0
"""Birth of a connection that was never there."""
BROKEN = math.inf
"""Birth of an idle entry whose last reconnect failed: it keeps its place and is opened anew by whoever takes it."""


@dataclass(slots=True)
class Slots:
    """The pool's own state: which connections are idle, how many slots are taken, who waits. No clock of its own.

    Connections are represented by their birth (seconds). The caller keeps the events and says what happened.
    """

    rules: Rules
    idle: deque[float] = field(default_factory=deque)
    waiting: deque[int] = field(default_factory=deque)
    open: int = 0
    capacity: float = 0.0
    keep: float = 0.0
    """Connections that may be idle at once."""
    peak: int = 0
    """Most slots ever taken at once."""

    def __post_init__(self) -> None:
        self.capacity = self.rules.capacity
        self.keep = self.rules.pool_size or math.inf

    def warm(self, connections: int) -> None:
        """Begin with idle connections, born at second 0; no more than may be idle."""
        self.idle.extend([0.0] * int(min(connections, self.keep)))
        self.open = self.peak = len(self.idle)

    def ask(self, job: int) -> float:
        """Return the birth of an idle connection, or OPEN (a slot is taken: connect), or WAIT (queued)."""
        if self.idle:
            return self.idle.pop() if self.rules.lifo else self.idle.popleft()
        if self.look_again():
            return OPEN
        self.waiting.append(job)
        return WAIT

    def woken(self, job: int) -> float:
        """Return a birth, or WAIT when somebody was faster: a woken waiter looks only at the idle queue."""
        if self.idle:
            return self.idle.pop() if self.rules.lifo else self.idle.popleft()
        self.waiting.append(job)
        return WAIT

    def put(self, birth: float) -> bool:
        """Take a connection back; False when the idle queue is full and it has to be closed."""
        if len(self.idle) >= self.keep:
            return False
        self.idle.append(birth)
        return True

    def look_again(self) -> bool:
        """After the timeout: take a slot that became free without waking anybody. False: there is none."""
        if self.open < self.capacity:
            self.open += 1
            if self.open > self.peak:
                self.peak = self.open
            return True
        return False
