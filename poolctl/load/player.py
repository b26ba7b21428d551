"""Player: plays a tape on the loop that owns the pool.

In: a tape, a performer, the parts of the tape to play and the instant of its beginning. Out: each work item of an open
model started at its instant, whatever the pool does; each client of a closed model in its loop. Bounded in flight;
what does not fit is skipped and written down. Everything here runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable
from itertools import count

from sqlalchemy.exc import DBAPIError

from poolctl.capture.recorder import Recorder
from poolctl.clock import NS, monotonic_ns
from poolctl.load.alarm import Alarm
from poolctl.load.perform import Performer
from poolctl.load.tape import ClosedTape, OpenTape, Work

MAX_IN_FLIGHT = 10_000
"""Operations in flight at once, a process: beyond that the generator would measure itself."""

BACK_OFF_S = 0.25
"""A closed loop's pause after a failed connection: without it a dead server is asked 4,400 times a second."""

YIELD_EVERY = 16
"""A closed loop lets others run at least every so many operations: one that never waits would stop the loop."""

SAMPLE_S = 1.0
CANCEL_S = 2.0
"""How long a cancelled operation may take to give its connection back."""


class Player:
    """What both models share: tasks in flight, the end, and a look at itself once a second."""

    def __init__(self, performer: Performer, recorder: Recorder | None) -> None:
        self._performer = performer
        self._recorder = recorder
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, asyncio.Task[object]] = {}
        self._numbers = count()
        self._sampler: asyncio.TimerHandle | None = None
        self._last = (0, 0, 0)
        self.skipped = 0
        """Work items that were due and not started."""

    @property
    def in_flight(self) -> int:
        """Tasks under way."""
        return len(self._running)

    def due(self) -> int:
        """Return how many work items should have been started by now and were not."""
        return 0

    def play(self, parts: list[int], of: int, start_at: int) -> None:
        """Play these of `of` equal parts of the tape (clients of a closed one), from `start_at` (nanoseconds) on."""
        raise NotImplementedError

    def halt(self) -> None:
        """Start nothing more."""
        raise NotImplementedError

    def begin_samples(self) -> None:
        """Look at the generator itself once a second from now on."""
        gc.collect()
        gc.freeze()  # what is there by now stays; without it a full collection stops the loop for milliseconds
        self._last = (monotonic_ns(), time.thread_time_ns(), time.process_time_ns())
        self._sampler = self._loop.call_later(SAMPLE_S, self._sample)

    async def finish(self, drain_s: float) -> int:
        """Halt, give what is in flight `drain_s` to end, then cancel it; return how many were cancelled."""
        self.halt()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=drain_s)
        left = list(self._running.values())
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCEL_S)
        if self._sampler is not None:
            self._sampler.cancel()
            self._sample(again=False)
        return len(left)

    def _sample(self, *, again: bool = True) -> None:
        now = (monotonic_ns(), time.thread_time_ns(), time.process_time_ns())
        wall, cpu, all_cpu = (new - old for new, old in zip(now, self._last, strict=True))
        self._last = now
        if self._recorder is not None:
            self._recorder.sample(
                now[0], cpu=cpu, wall=wall, in_flight=self.in_flight, due=self.due(), threads_cpu=all_cpu
            )
        if again:
            self._sampler = self._loop.call_later(SAMPLE_S, self._sample)


class OpenPlayer(Player):
    """Plays an open tape: a task for each work item at its instant."""

    def __init__(
        self, tape: OpenTape, performer: Performer, recorder: Recorder | None, max_in_flight: int = MAX_IN_FLIGHT
    ) -> None:
        super().__init__(performer, recorder)
        self._tape = tape
        self._limit = max_in_flight
        self._alarm: Alarm | None = None
        self._due: list[int] = []
        self._work: list[Work] = []
        self._next = 0

    @property
    def played(self) -> bool:
        """Whether every work item was started or skipped."""
        return self._next == len(self._due)

    def due(self) -> int:
        """Return how many work items should have been started by now and were not."""
        now, number = monotonic_ns(), self._next
        while number < len(self._due) and self._due[number] <= now:
            number += 1
        return number - self._next

    def play(self, parts: list[int], of: int, start_at: int) -> None:
        """Play these parts; called again while it plays, it goes on from now with the new parts."""
        began = self._alarm is not None
        until = self._ring() if began else 0
        rows = sorted(
            ((at + start_at, work) for part in parts for at, work in zip(*self._tape.shard(part, of), strict=True)),
            key=lambda row: row[0],
        )
        rows = [row for row in rows if row[0] > until]
        self._due, self._work, self._next = [at for at, _ in rows], [work for _, work in rows], 0
        if self._alarm is None:
            self._alarm = Alarm(self._loop, self._ring)
        self._ring()

    def halt(self) -> None:
        """Start nothing more."""
        self._due, self._work, self._next = [], [], 0
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None

    def _ring(self) -> int:
        """Start all that is due, and set the alarm for what comes next; return the instant up to which it was."""
        due, work, running = self._due, self._work, self._running
        number, last = self._next, len(due)
        while (now := monotonic_ns()) and number < last and due[number] <= now:
            if len(running) >= self._limit:
                self.skipped += 1
                self._performer.skip(work[number], due[number])
            else:
                key = next(self._numbers)
                running[key] = self._loop.create_task(self._run(key, work[number], due[number]))
            number += 1
        self._next = number
        if number < last and self._alarm is not None:
            self._alarm.set(due[number])
        return now

    async def _run(self, key: int, work: Work, intended_at: int) -> None:
        try:
            await self._performer.perform(work, intended_at)
        finally:
            del self._running[key]


class ClosedPlayer(Player):
    """Plays a closed tape: a task for each client."""

    def __init__(self, tape: ClosedTape, performer: Performer, recorder: Recorder | None) -> None:
        super().__init__(performer, recorder)
        self._tape = tape
        self._halted = asyncio.Event()
        self._ends: dict[int, Callable[[], None]] = {}

    def play(self, parts: list[int], of: int, start_at: int) -> None:  # noqa: ARG002 - a client is nobody's share
        """Run these clients; called again, those no longer named stop after their operation."""
        wanted = set(parts)
        for client in [client for client in self._ends if client not in wanted]:
            self._ends.pop(client)()
        for client in sorted(wanted - self._ends.keys()):
            ended = asyncio.Event()
            self._ends[client] = ended.set
            key = next(self._numbers)
            self._running[key] = self._loop.create_task(self._run(key, client, start_at, ended))

    def halt(self) -> None:
        """Let each client end its operation and begin no other."""
        for end in self._ends.values():
            end()
        self._ends.clear()

    async def _run(self, key: int, client: int, start_at: int, ended: asyncio.Event) -> None:
        try:
            await self._wait(ended, start_at)
            await self._loop_client(client, start_at, ended)
        finally:
            del self._running[key]

    async def _loop_client(self, client: int, start_at: int, ended: asyncio.Event) -> None:
        intended_at = max(start_at, monotonic_ns())
        for work, pause_s in self._tape.client(client):
            if ended.is_set():
                return
            if not work.item % YIELD_EVERY:
                await asyncio.sleep(0)
            error = await self._performer.perform(work, intended_at, client)
            intended_at = monotonic_ns()
            if error is not None:
                intended_at += int(_back_off(error) * NS)
            intended_at += int(pause_s * NS)
            await self._wait(ended, intended_at)

    async def _wait(self, ended: asyncio.Event, until: int) -> None:
        """Wait until the instant, or until the client is asked to end."""
        seconds = (until - monotonic_ns()) / NS
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await ended.wait()


def _back_off(error: BaseException) -> float:
    """Return the seconds to wait after `error`: the server may be gone, and asking faster does not help it."""
    if isinstance(error, OSError) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return BACK_OFF_S
    orig = getattr(error, "orig", None)
    return BACK_OFF_S if isinstance(getattr(orig, "__cause__", orig), OSError) else 0.001
