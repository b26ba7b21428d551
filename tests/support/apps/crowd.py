"""Crowds: who asks a patient of the clinic, as tasks or as threads, in the same order at the same instants.

In: handlers without arguments. Out: nothing; what a handler raises is the pool's refusal, and is forgotten: the report
says it. A crowd's instants come from a fixed seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from sqlalchemy.exc import SQLAlchemyError

SEED = 20251121


def instants(rate: float, seconds: float) -> Iterator[float]:
    """Poisson arrivals, from now on."""
    draw, at = random.Random(SEED), 0.0
    while (at := at + draw.expovariate(rate)) < seconds:
        yield at


def leave() -> NoReturn:
    """End as a process does that is killed: nothing is tidied up, no connection is returned."""
    os._exit(0)


class Tasks:
    """A crowd of tasks on the running loop."""

    def __init__(self) -> None:
        self._present: set[asyncio.Task[None]] = set()

    async def arrive(self, handler: Callable[[], Any], rate: float, seconds: float) -> None:
        """Start `handler` at random, `rate` times a second, each in a task of its own; wait for none of them."""
        began = time.monotonic()
        for at in instants(rate, seconds):
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            self.start(handler)
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))

    def start(self, handler: Callable[[], Any]) -> None:
        """Start it once."""
        task = asyncio.ensure_future(self._once(handler))
        self._present.add(task)
        task.add_done_callback(self._present.discard)

    async def work(self, handler: Callable[[], Any], workers: int, seconds: float, pause: float) -> None:
        """Let so many workers do it over and over, with a pause after each time."""
        until = time.monotonic() + seconds

        async def worker() -> None:
            while time.monotonic() < until:
                await self._once(handler)
                await asyncio.sleep(pause)

        await asyncio.gather(*(worker() for _ in range(workers)))

    async def finish(self) -> None:
        """Wait until all have left."""
        while self._present:
            await asyncio.wait(self._present)

    async def _once(self, handler: Callable[[], Any]) -> None:
        with contextlib.suppress(SQLAlchemyError):
            await handler()


class Threads:
    """The same, of threads."""

    def __init__(self) -> None:
        self._present: list[threading.Thread] = []
        self._executor: ThreadPoolExecutor | None = None

    def arrive(self, handler: Callable[[], Any], rate: float, seconds: float) -> None:
        """Start `handler` at random, `rate` times a second, each in a thread of its own; wait for none of them."""
        began = time.monotonic()
        for at in instants(rate, seconds):
            time.sleep(max(0.0, began + at - time.monotonic()))
            self.start(handler)
        time.sleep(max(0.0, began + seconds - time.monotonic()))

    def start(self, handler: Callable[[], Any]) -> None:
        """Start it once."""
        thread = threading.Thread(target=self._once, args=(handler,), daemon=True)
        self._present.append(thread)
        thread.start()

    def arrive_at_executor(self, handler: Callable[[], Any], threads: int, rate: float, seconds: float) -> None:
        """Hand `handler` to an executor of so many threads, `rate` times a second."""
        executor = ThreadPoolExecutor(threads)
        began = time.monotonic()
        for at in instants(rate, seconds):
            time.sleep(max(0.0, began + at - time.monotonic()))
            executor.submit(self._once, handler)

    def work(self, handler: Callable[[], Any], workers: int, seconds: float, pause: float) -> None:
        """Let so many workers do it over and over, with a pause after each time."""
        until = time.monotonic() + seconds

        def worker() -> None:
            while time.monotonic() < until:
                self._once(handler)
                time.sleep(pause)

        threads = [threading.Thread(target=worker) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def finish(self) -> None:
        """Wait until all have left."""
        for thread in self._present:
            thread.join()

    def _once(self, handler: Callable[[], Any]) -> None:
        with contextlib.suppress(SQLAlchemyError):
            handler()
