"""The verdict on exhausted pools whose cause is known: a small application on a virtual clock, many seeds."""

import asyncio
import random

import pytest
from synthesis import Lease, write_run
from virtual_pool import VirtualLoop

from poolctl.analysis.summary import analyse

SIZE, TIMEOUT, SECONDS = 8, 1.0, 120.0
CAUSES = {
    "healthy": "healthy",
    "load": "too small",
    "slow query": "database slow",
    "slow partner": "held idle",
    "leak": "leaking",
    "nested": "nested checkouts",
}


class Application:
    """Handlers on a FIFO pool of SIZE connections; from the middle of the run on, `cause` is at work."""

    def __init__(self, cause, seed, loop):
        self.cause, self.random, self.loop = cause, random.Random(f"{cause} {seed}"), loop
        self.free, self.queue = list(range(1, SIZE + 1)), []
        self.leases, self.kept = [], []

    @property
    def late(self):
        return self.loop.time() > SECONDS / 2

    async def main(self):
        tasks = []
        while self.loop.time() < SECONDS:
            rate = 100 if self.cause == "load" and self.late else 45
            await asyncio.sleep(self.random.expovariate(rate))
            tasks.append(asyncio.ensure_future(self.handle(len(tasks) + 1)))
        await asyncio.gather(*tasks)

    async def handle(self, task):
        leak = self.cause == "leak" and self.random.random() < 0.002
        site = "app/export.py:7 export" if leak else "app/orders.py:42 handler"
        slot, begun = await self.acquire(site, task)
        if slot is None:
            return
        if self.cause == "nested" and self.late and self.random.random() < 0.8:
            await asyncio.sleep(0.05)
            inner, inside = await self.acquire("app/audit.py:3 log", task)
            if inner is not None:
                await asyncio.sleep(0.05)
                self.release(inner, inside, 0.8)
        sql = 0.05 if self.cause in ("slow query", "nested") else 0.02
        idle = 0.07 - sql
        factor = self.random.lognormvariate(0, 0.3) * 1.2
        if self.late and self.cause == "slow query":
            sql *= 5
        if self.late and self.cause == "slow partner":
            idle *= 5
        await asyncio.sleep((sql + idle) * factor)
        if leak:
            self.leases.append(self.lease(begun, None, sql * factor, "open"))
        else:
            self.release(slot, begun, sql / (sql + idle))

    async def acquire(self, site, task):
        asked = self.loop.time()
        if self.free:
            return self.free.pop(0), (site, task, asked, asked)
        turn = self.loop.create_future()
        self.queue.append(turn)
        try:
            slot = await asyncio.wait_for(turn, TIMEOUT)
        except TimeoutError:
            if turn in self.queue:
                self.queue.remove(turn)
            waited = self.loop.time() - asked
            self.leases.append(Lease(asked, None, wait=waited, end="timed_out", site=site, task=task, connection=0))
            return None, None
        return slot, (site, task, asked, self.loop.time())

    def release(self, slot, begun, sql_share):
        hold = self.loop.time() - begun[3]
        self.leases.append(self.lease(begun, hold, hold * sql_share, "returned"))
        while self.queue:
            turn = self.queue.pop(0)
            if not turn.done():
                turn.set_result(slot)
                return
        self.free.append(slot)

    def lease(self, begun, hold, sql, end):
        site, task, asked, got = begun
        number = len(self.leases) + 1
        return Lease(asked, hold, wait=got - asked, sql=sql, end=end, site=site, task=task, connection=number)


def recorded(cause, seed):
    loop = VirtualLoop()
    try:
        application = Application(cause, seed, loop)
        loop.run_until_complete(application.main())
    finally:
        loop.close()
    return sorted(application.leases, key=lambda lease: lease.requested)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("cause", CAUSES)
def test_the_cause_of_an_exhausted_pool_is_found(tmp_path, cause, seed):
    settings = {"pool_size": SIZE, "max_overflow": 0, "pool_timeout_s": TIMEOUT}
    run = write_run(tmp_path, recorded(cause, seed), settings=settings, command="diagnose", load=None, duration=SECONDS)
    report = analyse(run)
    assert report.verdict == CAUSES[cause], "\n".join([report.summary, *report.evidence])
    assert report.leases.timed_out > 0 or cause == "healthy"
