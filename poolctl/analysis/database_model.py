"""The database answers back: the pool model with holds that grow when the database has more to do than it has cores.

In: requests, what each lease does (application time and SQL work by turns), cores, locks. Out: `Outcome`, as from the
pool model. Knows nothing of traces; `structure` fits what it needs.

SQL work of all processes shares `cores` equally (processor sharing): with n pieces active each advances at min(1,
cores/n). One virtual clock V runs at that speed, so a piece that starts at V with work W ends at V + W whatever comes
between: one heap keyed by V, O(log n) an event. Where a site's rows are locked, its transactions pass one at a time
in order of arrival, from the statement that takes the lock to the end of the last one. Connects and closes are work,
too.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from poolctl.analysis.pool_events import Event, EventReplay
from poolctl.analysis.pool_rules import Floats, Ints, Outcome, Rules, Work

NO_LOCK = -1
GAP_OVER = len(Event)
"""Event kind: the application's turn is over, the next statement starts."""


@dataclass(frozen=True)
class Programs:
    """What each mark does while it holds: application time, work, application time, …, application time (odd
    length)."""

    steps: Floats
    """All programs, one after the other; seconds, of work at full speed where it is work."""
    first: Ints
    """Index of each mark's first step; one more entry than marks."""
    lock: Ints
    """The number of the lock that each mark takes, or NO_LOCK."""
    lock_step: Ints
    """Index, within `steps`, of the work that takes it; it is given up at the end of the mark's last work."""


@dataclass(frozen=True)
class Database:
    """The server, as far as waiting depends on it."""

    cores: float
    """Pieces of SQL that run at full speed side by side; infinite: no contention."""
    locks: int = 0
    """How many serial stations there are."""
    close_work_s: float = 0.0
    connect_cold_s: float = 0.0
    """Extra work of the first statement on a new connection."""


class DatabaseReplay(EventReplay):
    """The event loop of the pools with a database behind them."""

    def __init__(
        self,
        work: Work,
        rules: Rules,
        programs: Programs,
        mark: Ints,
        database: Database,
        warm: Sequence[int] = (0,),
        pool_of: Sequence[int] | None = None,
    ) -> None:
        super().__init__(work, rules, warm, pool_of)
        self.handlers = (*self.handlers, self._work)  # type: ignore[assignment]
        self.database = database
        self.steps: list[float] = programs.steps.tolist()
        self.at: list[int] = programs.first[mark].tolist()
        self.last: list[int] = (programs.first[mark + 1] - 1).tolist()
        self.lock: list[int] = programs.lock[mark].tolist()
        self.lock_step: list[int] = programs.lock_step[mark].tolist()
        self.queues: list[deque[int]] = [deque() for _ in range(database.locks)]
        self.taken = [False] * database.locks
        self.virtual = 0.0
        self.active: list[tuple[float, int, int]] = []

    def run(self) -> Outcome:
        """Handle requests, timers and completions in order of time."""
        events, active, requested, handlers = self.events, self.active, self.requested, self.handlers
        completed = (self._worked, self._connected, self._closed)
        first = self._first_requests()
        position, count, cores = 0, len(first), self.database.cores
        pop, now = heapq.heappop, 0.0
        while position < count or events or active:
            arrival = requested[first[position]] if position < count else math.inf
            timer = events[0][0] if events else math.inf
            coming = arrival if arrival < timer else timer
            if active:
                ahead = active[0][0] - self.virtual
                busy = len(active)
                done = now + (ahead if busy <= cores else ahead * busy / cores)
                if done <= coming:
                    now, (self.virtual, kind, job) = done, pop(active)
                    completed[kind](now, job)
                    continue
                self.virtual += (coming - now) if busy <= cores else (coming - now) * cores / busy
            now = coming
            if arrival < timer:
                job = first[position]
                position += 1
                self._request(now, job)
            else:
                _, kind, job = pop(events)
                handlers[kind](now, job)
        return self._outcome()

    def _connect(self, start: float, job: int) -> None:
        self.opened[job] = 1
        self.birth[job] = start
        heapq.heappush(self.active, (self.virtual + self.connect[job], 1, job))

    def _connected(self, now: float, job: int) -> None:
        self._use(now, job)

    def _close(self, now: float, job: int) -> None:  # noqa: ARG002 - as in the class above
        heapq.heappush(self.active, (self.virtual + self.database.close_work_s, 2, job))

    def _use(self, acquired: float, job: int) -> None:
        self.acquired[job] = acquired
        self._gap(acquired, job)

    def _gap(self, now: float, job: int) -> None:
        """The application's turn: nothing of it depends on the database."""
        at = self.at[job]
        if at == self.last[job]:
            heapq.heappush(self.events, (now + self.steps[at], Event.RETURN, job))
        elif self.steps[at] > 0:
            heapq.heappush(self.events, (now + self.steps[at], GAP_OVER, job))
        else:
            self._work(now, job)

    def _work(self, now: float, job: int) -> None:  # noqa: ARG002 - a handler like the others
        """The next statement starts, or queues for its lock."""
        at = self.at[job] = self.at[job] + 1
        if at == self.lock_step[job]:
            lock = self.lock[job]
            if self.taken[lock]:
                self.queues[lock].append(job)
                return
            self.taken[lock] = True
        work = self.steps[at]
        if self.database.connect_cold_s and self.opened[job] == 1:
            self.opened[job] = 2
            work += self.database.connect_cold_s
        heapq.heappush(self.active, (self.virtual + work, 0, job))

    def _worked(self, now: float, job: int) -> None:
        """A statement is done; after the last one the lock goes to the next in its queue."""
        at = self.at[job] = self.at[job] + 1
        if at == self.last[job] and self.lock[job] != NO_LOCK:
            lock = self.lock[job]
            if self.queues[lock]:
                following = self.queues[lock].popleft()
                heapq.heappush(self.active, (self.virtual + self.steps[self.at[following]], 0, following))
            else:
                self.taken[lock] = False
        self._gap(now, job)

    def _outcome(self) -> Outcome:
        self.opened = bytearray(1 if flag else 0 for flag in self.opened)
        return super()._outcome()


def split(outcome: Outcome, pool_of: Ints, pools: Sequence[int]) -> list[Outcome]:
    """Return the outcome of each pool, its requests in their own order. `pools` are the peaks of open connections."""
    parts = []
    for number, peak in enumerate(pools):
        mine = np.flatnonzero(pool_of == number)
        parts.append(
            Outcome(
                outcome.requested_at_s[mine],
                outcome.granted_at_s[mine],
                outcome.acquired_at_s[mine],
                outcome.ended_at_s[mine],
                outcome.end[mine],
                outcome.opened[mine],
                peak,
            )
        )
    return parts
