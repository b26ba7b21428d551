"""Alarm: calls back on an event loop at an instant of the monotonic clock, to a fraction of a millisecond.

In: an instant. Out: a call. On Linux a timerfd with an absolute time; loops' own timers have a resolution of a
millisecond, which makes Poisson arrivals of 3,000/s bursty (coefficient of variation 1.3–1.6 instead of 1).
Elsewhere the loop's timer.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

from poolctl.clock import NS, monotonic_ns

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK, _TFD_CLOEXEC = os.O_NONBLOCK, getattr(os, "O_CLOEXEC", 0)
_TFD_TIMER_ABSTIME = 1


class Alarm:
    """One pending instant at a time; setting another replaces it. Use it on the loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], object]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._fd = _timerfd()
        if self._fd is not None:
            loop.add_reader(self._fd, self._fired)

    def set(self, at: int) -> None:
        """Ring at `at` (nanoseconds); at once when that has passed."""
        if self._fd is not None:
            _arm(self._fd, max(at, 1))
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_later(max(at - monotonic_ns(), 0) / NS, self._ring)

    def close(self) -> None:
        """Never ring again; does nothing the second time."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    def _fired(self) -> None:
        assert self._fd is not None  # noqa: S101 - its reader is removed before
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew between the wake-up and this call
        self._ring()


class _Time(ctypes.Structure):
    """struct itimerspec: interval and value, seconds and nanoseconds each."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


if sys.platform == "linux":
    _libc = ctypes.CDLL(None, use_errno=True)

    def _timerfd() -> int | None:
        fd: int = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        return fd if fd >= 0 else None

    def _arm(fd: int, at: int) -> None:
        time = _Time(0, 0, *divmod(at, NS))
        if _libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, ctypes.byref(time), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

else:

    def _timerfd() -> int | None:
        return None

    def _arm(fd: int, at: int) -> None:
        raise NotImplementedError
