"""Canary: how late an event loop runs what is due. Standard library only.

In: a loop that asks pools for connections. Out: a LAG record each time a timer of ten a second was late, so that a
blocked loop is told from one that has nothing to do; and what else is to be done now and then on that loop's thread. It
ends by itself at its first tick after capture has ended.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from poolctl.clock import NS, monotonic_ns
from poolctl.trace.events import Kind

EVERY_S = 0.1
WORTH_NS = NS // 20
"""A shorter delay is no news: loops and machines are never quite on time."""


class Canary:
    """A timer on one loop. Made on the loop's own thread."""

    def __init__(self, loop: Any, recorder: Any, stopped: Callable[[], bool], on_tick: Callable[[Any], None]) -> None:
        self._loop = weakref.ref(loop)
        self._recorder = recorder
        self._stopped = stopped
        self._on_tick = on_tick
        self._wait(loop)

    def _wait(self, loop: Any) -> None:
        self._due_at = monotonic_ns() + int(EVERY_S * NS)
        loop.call_later(EVERY_S, self._tick)

    def _tick(self) -> None:
        loop = self._loop()
        if loop is None or self._stopped():
            return
        try:
            now = monotonic_ns()
            if now - self._due_at >= WORTH_NS:
                self._recorder.ring.write(Kind.LAG, now, 0, 0, 0, 0, now - self._due_at, 0, 0, 0)
            self._wait(loop)
            self._on_tick(loop)
        except Exception:
            self._recorder.count_error()
