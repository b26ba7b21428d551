"""The pool model's full event loop: overflow, recycle, pings, failed connects, closed-loop clients, thread wake-ups.

In: `Work` and `Rules`. Out: `Outcome`, equal to the last digit to what SQLAlchemy's AsyncAdaptedQueuePool does in
virtual time (tests/property). Half a million requests a second; `pool_model.replay` chooses the lean path where that
is exact.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from poolctl.analysis.pool_rules import BROKEN, NEW, OPEN, End, Outcome, Rules, Slots, Work


class Event(IntEnum):
    """In the order in which events of one instant are handled."""

    RETURN = 0
    CLOSED = 1
    FAILED = 2
    WAKE = 3
    TIMEOUT = 4
    REQUEST = 5


class EventReplay:
    """The event loop over one pool, or over several that are given by `pool_of`: each process has its own.

    Subclasses may say that holding and connecting take longer than the work says (`database_model`).
    """

    def __init__(
        self, work: Work, rules: Rules, warm: int | Sequence[int] = 0, pool_of: Sequence[int] | None = None
    ) -> None:
        self.work, self.rules = work, rules
        count = len(work)
        warm = [warm] if isinstance(warm, int) else warm
        self.pools = [Slots(rules) for _ in warm]
        for pool, connections in zip(self.pools, warm, strict=True):
            pool.warm(connections)
        self.pool = self.pools * count if pool_of is None else [self.pools[number] for number in pool_of]
        self.events: list[tuple[float, int, int]] = []
        self.hold: list[float] = work.hold_s.tolist()
        self.connect: list[float] = work.connect_s.tolist()
        self.fails: Sequence[bool] = [False] * count if work.connect_fails is None else work.connect_fails.tolist()
        self.follower: Sequence[int] | None = None if work.next_request is None else work.next_request.tolist()
        self.think: Sequence[float] = [] if work.think_s is None else work.think_s.tolist()
        self.requested: list[float] = work.requested_at_s.tolist()
        self.granted = [math.nan] * count
        self.acquired = [math.nan] * count
        self.ended = [math.nan] * count
        self.end = bytearray(count)
        self.opened = bytearray(count)
        self.birth = [0.0] * count
        self.deadline: dict[int, float] = {}
        self.handlers = (self._return, self._closed, self._failed, self._wake, self._timeout, self._request)

    def run(self) -> Outcome:
        """Handle every event in order of time and return what became of each request."""
        events, requested, handlers = self.events, self.requested, self.handlers
        first = self._first_requests()
        position, count, pop = 0, len(first), heapq.heappop
        while position < count or events:
            if position < count and (not events or requested[first[position]] < events[0][0]):
                job = first[position]
                position += 1
                self._request(requested[job], job)
            else:
                now, kind, job = pop(events)
                handlers[kind](now, job)
        return self._outcome()

    def _outcome(self) -> Outcome:
        return Outcome(
            np.array(self.requested),
            np.array(self.granted),
            np.array(self.acquired),
            np.array(self.ended),
            np.frombuffer(bytes(self.end), dtype=np.int8),
            np.frombuffer(bytes(self.opened), dtype=np.bool_),
            sum(pool.peak for pool in self.pools),
        )

    def _first_requests(self) -> Sequence[int]:
        if self.follower is None:
            return range(len(self.requested))
        followed = {job for job in self.follower if job >= 0}
        firsts = (job for job in range(len(self.requested)) if job not in followed)
        return sorted(firsts, key=self.requested.__getitem__)

    def _request(self, now: float, job: int) -> None:
        self.requested[job] = now
        birth = self.pool[job].ask(job)
        if birth >= 0:
            self._take(now, job, birth)
        elif birth == OPEN:
            self._open(now, job)
        else:
            self.deadline[job] = deadline = now + self.rules.pool_timeout_s
            heapq.heappush(self.events, (deadline, Event.TIMEOUT, job))

    def _take(self, now: float, job: int, birth: float) -> None:
        self.granted[job] = now
        self.birth[job] = birth
        if birth == BROKEN:
            self._connect(now, job)
        elif 0 <= self.rules.pool_recycle_s < now - birth:
            self._connect(now + self.work.close_s, job)
        else:
            self._use(now + self.work.ping_s, job)

    def _open(self, now: float, job: int) -> None:
        self.granted[job] = now
        self.birth[job] = NEW
        self._connect(now, job)

    def _connect(self, start: float, job: int) -> None:
        self.opened[job] = 1
        done = start + self.connect[job]
        if self.fails[job]:
            heapq.heappush(self.events, (done, Event.FAILED, job))
        else:
            self.birth[job] = start
            self._use(done, job)

    def _use(self, acquired: float, job: int) -> None:
        self.acquired[job] = acquired
        heapq.heappush(self.events, (acquired + self.hold[job], Event.RETURN, job))

    def _return(self, now: float, job: int) -> None:
        self.ended[job] = now
        if self.pool[job].put(self.birth[job]):
            self._notify(now, job)
        else:
            self._close(now, job)

    def _close(self, now: float, job: int) -> None:
        heapq.heappush(self.events, (now + self.work.close_s, Event.CLOSED, job))

    def _notify(self, now: float, job: int) -> None:
        """Wake the first waiter. The returning client, if it does not pause, is back before the waiter runs."""
        waiting = self.pool[job].waiting
        waiter = waiting.popleft() if waiting else -1
        self._go_on(now, job)
        if waiter < 0:
            return
        if self.rules.wake_s > 0:
            heapq.heappush(self.events, (now + self.rules.wake_s, Event.WAKE, waiter))
        else:
            self._wake(now, waiter)

    def _wake(self, now: float, job: int) -> None:
        birth = self.pool[job].woken(job)
        if birth >= 0:
            del self.deadline[job]
            self._take(now, job, birth)
        elif self.deadline[job] <= now:  # a thread that was notified too late, and then beaten to it
            self._timeout(self.deadline[job], job)

    def _closed(self, now: float, job: int) -> None:
        self.pool[job].open -= 1
        self._go_on(now, job)

    def _failed(self, now: float, job: int) -> None:
        self.ended[job], self.end[job] = now, End.FAILED
        if self.birth[job] != NEW and self.pool[job].put(BROKEN):  # a failed reconnect returns its entry, and wakes
            self._notify(now, job)
            return
        self.pool[job].open -= 1
        self._go_on(now, job)

    def _timeout(self, now: float, job: int) -> None:
        pool = self.pool[job]
        if self.deadline.get(job) != now or job not in pool.waiting:
            return  # granted meanwhile, or woken and about to look
        del self.deadline[job]
        pool.waiting.remove(job)
        if pool.look_again():
            self._open(now, job)
            return
        self.ended[job], self.end[job] = now, End.TIMED_OUT
        self._go_on(now, job)

    def _go_on(self, now: float, job: int) -> None:
        if self.follower is None or (following := self.follower[job]) < 0:
            return
        think = self.think[following]
        if think > 0:
            heapq.heappush(self.events, (now + think, Event.REQUEST, following))
        else:
            self._request(now, following)
