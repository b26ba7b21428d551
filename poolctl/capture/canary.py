"""Canary: how late an event loop runs what is due. Standard library only.

In: a loop that asks pools for connections. Out: a LAG record each time a timer of ten a second was late, so that a
blocked loop is told from one that has nothing to do, with how long the thread meanwhile waited for a processor; and
what else is to be done now and then on that loop's thread. It ends by itself at its first tick after capture has ended.

On Linux the timer is the kernel's (timerfd), which the loop only reads: with a timer of its own pending, a loop waits
with a time limit, and to set the processor's timer at each wait cost 3.7 % of a `select 1` on a virtual machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from collections.abc import Callable
from typing import Any

from poolctl.clock import NS, monotonic_ns
from poolctl.trace.events import Kind

EVERY_S = 0.1
EVERY_NS = NS // 10
WORTH_NS = NS // 20
"""A shorter delay is no news: loops and machines are never quite on time."""
_QUEUED = "/proc/thread-self/schedstat"
"""Of the thread: time on a processor, time ready to run without one (both ns), times on one (Linux)."""
_TIMER_LINK = "anon_inode:[timerfd]"
_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC = 1, 0o4000 | 0o2000000


class Canary:
    """A timer on one loop. Made on the loop's own thread."""

    def __init__(self, loop: Any, recorder: Any, stopped: Callable[[], bool], on_tick: Callable[[Any], None]) -> None:
        self._loop = weakref.ref(loop)
        self._recorder = recorder
        self._stopped = stopped
        self._on_tick = on_tick
        self._due_at = monotonic_ns() + EVERY_NS
        self._queued = _queued_ns()
        descriptor = _timer()
        if descriptor is not None:
            self._close = weakref.finalize(loop, _close, descriptor)
            try:
                loop.add_reader(descriptor, self._rang, descriptor)
                return
            except Exception:  # a loop that reads no descriptors
                self._close()
        loop.call_later(EVERY_S, self._called)

    def _rang(self, descriptor: int) -> None:
        """The kernel's timer is due, for the first time since it was read."""
        loop = self._loop()
        if loop is None:
            return
        try:
            missed = 0 if self._stopped() else int.from_bytes(os.read(descriptor, 8), sys.byteorder)
        except BlockingIOError:
            return
        except OSError:  # the application closed what it does not know
            missed = 0
        if not missed:
            loop.remove_reader(descriptor)
            self._close()
            return
        self._tick(loop)
        self._due_at += missed * EVERY_NS

    def _called(self) -> None:
        """The loop's own timer is due."""
        loop = self._loop()
        if loop is None or self._stopped():
            return
        self._tick(loop)
        self._due_at = monotonic_ns() + EVERY_NS
        loop.call_later(EVERY_S, self._called)

    def _tick(self, loop: Any) -> None:
        try:
            now, before = monotonic_ns(), self._queued
            self._queued = _queued_ns()
            if now - self._due_at >= WORTH_NS:
                queued = max(self._queued - before, 0)
                self._recorder.ring.write(Kind.LAG, now, 0, 0, 0, 0, now - self._due_at, queued, 0, 0)
            self._on_tick(loop)
        except Exception:
            self._recorder.count_error()


def _queued_ns() -> int:
    """Return for how long this thread has waited for a processor; 0 where the kernel does not tell."""
    try:
        descriptor = os.open(_QUEUED, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(descriptor, 64).split()[1])
        finally:
            os.close(descriptor)
    except (OSError, ValueError, IndexError):
        return 0


def _timer() -> int | None:
    """Return the descriptor of a kernel timer that rings every EVERY_S; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        descriptor = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        every = (ctypes.c_long * 4)(0, EVERY_NS, 0, EVERY_NS)  # struct itimerspec: interval, first
        if descriptor < 0 or libc.timerfd_settime(descriptor, 0, every, None):
            return None
        return int(descriptor)
    except (AttributeError, ImportError, OSError):
        return None


def _close(descriptor: int) -> None:
    """Close the timer, if that is what has the number still: the application may have closed everything it had."""
    with contextlib.suppress(OSError):
        if os.readlink(f"/proc/self/fd/{descriptor}") == _TIMER_LINK:  # noqa: PTH115 - no pathlib in a finalizer
            os.close(descriptor)
