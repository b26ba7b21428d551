"""Hooks: the wrappers around the pool's own methods. Each calls the original exactly once, whatever else happens.

In: a `Watch`. Out: for each method a function that makes the wrapper for a given original of a given class. What the
original raises passes; what we raise is counted and forgotten; an interrupt (KeyboardInterrupt) is the application's.

Each request ends exactly once: in `connect` when it fails, in `finalize` when its proxy goes back, in
`connection_hooks.detach` when it leaves the pool; or it stays open. What is done at every checkout is in `core`, which
is compiled; the wrappers stay Python, which calls the original without a detour, and do as little as they can: in an
application they run once between two answers of the database, and find every cache cold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poolctl.capture.connections import WAIT_WORTH_NS
from poolctl.capture.watch import Watch
from poolctl.clock import monotonic_ns

Wrap = Callable[[Watch, Callable[..., Any], Any], Callable[..., Any]]


def connect(watch: Watch, original: Callable[..., Any], owner: Any) -> Callable[..., Any]:
    """`Pool.connect`, and each class's that overrides it: the request, and its answer."""
    begin, granted, refused = watch.begin, watch.granted, watch.refused

    def connect(self: Any) -> Any:
        lease = begin(self, owner)
        if lease is None:
            return original(self)
        try:
            fairy = original(self)
        except BaseException as error:
            refused(lease, error)
            raise
        granted(lease, fairy)
        return fairy

    return connect


def connect_singleton(watch: Watch, original: Callable[..., Any], owner: Any) -> Callable[..., Any]:
    """`SingletonThreadPool.connect`: hands the thread's own proxy out once more while it lives; that is no request."""
    request = connect(watch, original, owner)

    def connect_singleton(self: Any) -> Any:
        try:
            mine = self._fairy.current()
        except Exception:
            mine = None
        return request(self) if mine is None else original(self)

    return connect_singleton


def do_get(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`QueuePool._do_get`: the wait for a slot. It may call itself, a subclass's its super: the outermost counts."""
    pools, spent, failed = watch.pools, watch.spent, watch.recorder.count_error

    def _do_get(self: Any) -> Any:
        try:
            # An async pool that has one to give gives it at once. Our own counts do not know what others just took.
            at_once = self._is_asyncio and self._pool._queue._queue and self._overflow < self._max_overflow
        except AttributeError:
            at_once = False
        if at_once or (state := pools.get(id(self))) is None:
            return original(self)
        started_at = monotonic_ns()
        state.waiting += 1  # no call lies between a count and its `try`, or the end: an interrupt comes after calls
        try:
            record = original(self)
        except BaseException as error:
            state.waiting -= 1
            try:
                watch.spend(id(error), started_at).wait = monotonic_ns() - started_at
            except Exception:
                failed()
            raise
        state.waiting -= 1
        took = monotonic_ns() - started_at
        if took >= WAIT_WORTH_NS or spent:
            try:
                note = watch.spend(id(record), started_at)
                note.wait = took if took >= WAIT_WORTH_NS else 0
                note.got_at = started_at + took
            except Exception:
                failed()
        return record

    return _do_get
