"""The real AsyncAdaptedQueuePool on an event loop whose time is virtual, with a stub driver: no database."""

from __future__ import annotations

import asyncio
import math
import selectors
from typing import Any
from unittest import mock

import numpy as np
from sqlalchemy import exc
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util.concurrency import await_only, greenlet_spawn

from poolctl.analysis.pool_model import End, Outcome, Rules, Work


class _Selector(selectors.SelectSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("the virtual program is deadlocked: nothing is scheduled")
        if timeout > 0:
            self.loop.now = self.loop._scheduled[0]._when
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps from timer to timer; `time()` is exactly the instant of the timer that fired."""

    now = 0.0

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now

    @property
    def _clock_resolution(self) -> float:
        return math.ulp(self.now)

    @_clock_resolution.setter
    def _clock_resolution(self, value: float) -> None:
        pass


class _RefusedError(Exception):
    pass


class _Connection:
    def __init__(self, close_s: float) -> None:
        self.close_s = close_s

    def close(self) -> None:
        if self.close_s:
            await_only(asyncio.sleep(self.close_s))


class _Program:
    """The clients of one program, each a task, and the pool they share."""

    def __init__(self, work: Work, rules: Rules, loop: VirtualLoop) -> None:
        count = len(work)
        self.work, self.rules, self.loop = work, rules, loop
        self.requested = work.requested_at_s.copy()
        self.acquired, self.ended = np.full(count, math.nan), np.full(count, math.nan)
        self.end, self.opened = np.zeros(count, dtype=np.int8), np.zeros(count, dtype=np.bool_)
        self.fails = np.zeros(count, bool) if work.connect_fails is None else work.connect_fails
        self.follower = np.full(count, -1) if work.next_request is None else work.next_request
        self.think = np.zeros(count) if work.think_s is None else work.think_s
        self.job_of: dict[asyncio.Task[Any] | None, int] = {}
        self.peak = 0
        self.pool = AsyncAdaptedQueuePool(
            self.create,
            pool_size=rules.pool_size,
            max_overflow=rules.max_overflow,
            timeout=rules.pool_timeout_s,
            recycle=rules.pool_recycle_s,
            use_lifo=rules.lifo,
            reset_on_return=None,
        )

    @property
    def taken(self) -> int:
        return self.pool._overflow + self.rules.pool_size

    def create(self) -> _Connection:
        job = self.job_of[asyncio.current_task(self.loop)]
        self.peak = max(self.peak, self.taken)
        self.opened[job] = True
        if self.work.connect_s[job]:
            await_only(asyncio.sleep(float(self.work.connect_s[job])))
        if self.fails[job]:
            raise _RefusedError
        return _Connection(self.work.close_s)

    async def lease(self, job: int) -> None:
        self.job_of[asyncio.current_task()] = job
        self.requested[job] = self.loop.time()
        try:
            fairy = await greenlet_spawn(self.pool.connect)
        except (exc.TimeoutError, _RefusedError) as error:
            self.ended[job] = self.loop.time()
            self.end[job] = End.FAILED if isinstance(error, _RefusedError) else End.TIMED_OUT
            return
        self.acquired[job] = self.loop.time()
        if self.work.hold_s[job]:
            await asyncio.sleep(float(self.work.hold_s[job]))
        self.ended[job] = self.loop.time()
        await greenlet_spawn(fairy.close)

    async def client(self, job: int) -> None:
        begin = self.loop.create_future()  # not sleep(): its delta would round the instant
        self.loop.call_at(float(self.requested[job]), begin.set_result, None)
        await begin
        while job >= 0:
            await self.lease(job)
            job = int(self.follower[job])
            if job >= 0 and self.think[job]:
                await asyncio.sleep(float(self.think[job]))

    async def run(self) -> None:
        later = set(self.follower.tolist())
        await asyncio.gather(*(self.client(job) for job in range(len(self.work)) if job not in later))


def run_real_pool(work: Work, rules: Rules) -> Outcome:
    """Run the program through SQLAlchemy's own pool: the model's outcome, but for the grant, which nobody can see."""
    loop = VirtualLoop()
    program = _Program(work, rules, loop)
    try:
        with mock.patch("sqlalchemy.pool.base.time") as clock:
            clock.time = loop.time
            loop.run_until_complete(program.run())
        assert program.taken == program.pool._pool.qsize(), "every slot came back"
        while program.pool._pool.qsize():
            program.pool._pool.get_nowait().dbapi_connection = None
    finally:
        loop.close()
    unseen = np.full(len(work), math.nan)
    return Outcome(
        program.requested, unseen, program.acquired, program.ended, program.end, program.opened, program.peak
    )
