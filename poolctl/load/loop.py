"""LoopThread: an event loop on a native thread, as an application's own would be, beside locust's greenlets.

In: coroutines, from any thread. Out: their futures. Knows nothing of pools.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from poolctl.errors import UsageError

LOOPS = ("uvloop", "asyncio")
"""What `loop` may be; a setting that mirrors production."""

Result = TypeVar("Result")


def loop_kind(wanted: str | None) -> str:
    """Return the loop to run: `wanted`, or uvloop where it is installed. Raises UsageError for another name."""
    installed = importlib.util.find_spec("uvloop") is not None
    if wanted is None:
        return "uvloop" if installed else "asyncio"
    if wanted not in LOOPS:
        raise UsageError(f"there is no event loop {wanted!r}", f"choose {' or '.join(LOOPS)}")
    if wanted == "uvloop" and not installed:
        raise UsageError("the event loop uvloop is not installed", "run `pip install uvloop`, or choose asyncio")
    return wanted


class LoopThread:
    """The loop; it runs from `start` to `stop`. What fails inside it unasked is kept in `failure`."""

    def __init__(self, kind: str) -> None:
        self.failure: BaseException | None = None
        """The first exception that nobody handled: a bug, of poolctl or of a driver."""
        self.loop = _new_loop(kind)
        self.loop.set_exception_handler(self._on_error)
        self._thread = threading.Thread(target=self._run, name="poolctl-loop", daemon=True)

    def start(self) -> LoopThread:
        """Start the thread."""
        self._thread.start()
        return self

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run `coroutine` on the loop; its result comes with the future."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stop(self, wait_s: float = 5.0) -> bool:
        """Stop the loop and wait for its thread; False when it hangs."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # a driver's bare futures fail unseen when the server goes: only tasks are somebody's work
        if (
            self.failure is None
            and isinstance(error, BaseException)
            and isinstance(context.get("future"), asyncio.Task)
        ):
            self.failure = error
        loop.default_exception_handler(context)


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "uvloop":
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.new_event_loop()
