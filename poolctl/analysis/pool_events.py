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


class _Event(IntEnum):
    """In the order in which events of one instant are handled."""

    RETURN = 0
    CLOSED = 1
    FAILED = 2
    WAKE = 3
    TIMEOUT = 4
    REQUEST = 5


class EventReplay:
    """The full event loop: overflow, recycle, pings, failed connects, closed-loop clients and thread wake-ups."""

    def __init__(self, work: Work, rules: Rules, warm: int = 0) -> None:
        self.work, self.rules = work, rules
        self.slots = Slots(rules)
        self.slots.idle.extend([0.0] * int(min(warm, self.slots.keep)))
        self.slots.open = len(self.slots.idle)
        self.peak = self.slots.open
        count = len(work)
        self.events: list[tuple[float, int, int]] = []
        self.hold = work.hold_s.tolist()
        self.connect = work.connect_s.tolist()
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

    def run(self) -> Outcome:
        """Handle every event in order of time and return what became of each request."""
        events = self.events
        handlers = (self._return, self._closed, self._failed, self._wake, self._timeout, self._request)
        first = self._first_requests()
        position, count, pop = 0, len(first), heapq.heappop
        while position < count or events:
            if position < count and (not events or self.requested[first[position]] < events[0][0]):
                job = first[position]
                position += 1
                self._request(self.requested[job], job)
            else:
                now, kind, job = pop(events)
                handlers[kind](now, job)
        return Outcome(
            np.array(self.requested),
            np.array(self.granted),
            np.array(self.acquired),
            np.array(self.ended),
            np.frombuffer(bytes(self.end), dtype=np.int8),
            np.frombuffer(bytes(self.opened), dtype=np.bool_),
            self.peak,
        )

    def _first_requests(self) -> Sequence[int]:
        if self.follower is None:
            return range(len(self.requested))
        followed = {job for job in self.follower if job >= 0}
        return sorted(
            (job for job in range(len(self.requested)) if job not in followed), key=self.requested.__getitem__
        )

    def _request(self, now: float, job: int) -> None:
        self.requested[job] = now
        birth = self.slots.ask(job)
        if birth >= 0:
            self._take(now, job, birth)
        elif birth == OPEN:
            self._open(now, job)
        else:
            self.deadline[job] = deadline = now + self.rules.pool_timeout_s
            heapq.heappush(self.events, (deadline, _Event.TIMEOUT, job))

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
        self.peak = max(self.peak, self.slots.open)
        self.granted[job] = now
        self.birth[job] = NEW
        self._connect(now, job)

    def _connect(self, start: float, job: int) -> None:
        self.opened[job] = 1
        done = start + self.connect[job]
        if self.fails[job]:
            heapq.heappush(self.events, (done, _Event.FAILED, job))
        else:
            self.birth[job] = start
            self._use(done, job)

    def _use(self, acquired: float, job: int) -> None:
        self.acquired[job] = acquired
        heapq.heappush(self.events, (acquired + self.hold[job], _Event.RETURN, job))

    def _return(self, now: float, job: int) -> None:
        self.ended[job] = now
        if not self.slots.put(self.birth[job]):
            heapq.heappush(self.events, (now + self.work.close_s, _Event.CLOSED, job))
            return
        self._notify(now, job)

    def _notify(self, now: float, job: int) -> None:
        """Wake the first waiter. The returning client, if it does not pause, is back before the waiter runs."""
        waiting = self.slots.waiting
        waiter = waiting.popleft() if waiting else -1
        self._go_on(now, job)
        if waiter < 0:
            return
        if self.rules.wake_s > 0:
            heapq.heappush(self.events, (now + self.rules.wake_s, _Event.WAKE, waiter))
        else:
            self._wake(now, waiter)

    def _wake(self, now: float, job: int) -> None:
        birth = self.slots.woken(job)
        if birth >= 0:
            del self.deadline[job]
            self._take(now, job, birth)
        elif self.deadline[job] <= now:  # a thread that was notified too late, and then beaten to it
            self._timeout(self.deadline[job], job)

    def _closed(self, now: float, job: int) -> None:
        self.slots.open -= 1
        self._go_on(now, job)

    def _failed(self, now: float, job: int) -> None:
        self.ended[job], self.end[job] = now, End.FAILED
        if self.birth[job] != NEW and self.slots.put(BROKEN):  # a failed reconnect returns its entry, and wakes
            self._notify(now, job)
            return
        self.slots.open -= 1
        self._go_on(now, job)

    def _timeout(self, now: float, job: int) -> None:
        if self.deadline.get(job) != now or job not in self.slots.waiting:
            return  # granted meanwhile, or woken and about to look
        del self.deadline[job]
        self.slots.waiting.remove(job)
        if self.slots.look_again():
            self._open(now, job)
            return
        self.ended[job], self.end[job] = now, End.TIMED_OUT
        self._go_on(now, job)

    def _go_on(self, now: float, job: int) -> None:
        if self.follower is None or (following := self.follower[job]) < 0:
            return
        think = self.think[following]
        if think > 0:
            heapq.heappush(self.events, (now + think, _Event.REQUEST, following))
        else:
            self._request(now, following)
