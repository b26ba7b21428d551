"""Session: one window of watching, from the plan to a recorded run.

In: a WatchPlan, somebody who wants to see the progress. Out: a Run whose files are whole, whatever ended the window:
its length, Ctrl-C, the end of what was watched, a full disk. Nothing of poolctl's is left behind in any of these.
Knows nothing of the way in: that is in `watch.ways`.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from poolctl.analysis.live import LiveWindow, Progress
from poolctl.clock import NS, Anchor, monotonic_ns
from poolctl.errors import PoolctlError
from poolctl.target.observers import ProcessObserver, RingDrainer
from poolctl.trace.drain import sweep
from poolctl.trace.run import Run
from poolctl.watch.around import Around
from poolctl.watch.plan import WatchPlan, facts
from poolctl.watch.subject import subject
from poolctl.watch.ways import Way, way_of

TICK_S = 0.05
PROGRESS_S = 0.2
PATIENCE_S = 30.0
"""How long a window shorter than that waits for the first process to announce itself."""

COMPLETED, INTERRUPTED = "completed", "interrupted"
"""The values of `end` in run.json."""

OnProgress = Callable[[Progress], None]


def observe(plan: WatchPlan, on_progress: OnProgress = lambda _: None) -> Run:
    """Watch for the window of `plan` and return what was recorded; `on_progress` is called five times a second.

    To be called from the main thread. How it ended is in run.json (`end`, `end_detail`). Raises UsageError and
    TargetError when there was nothing to record, OutputError when the run cannot be written, KeyboardInterrupt for a
    Ctrl-C before anything was recorded, or a second one.
    """
    run = Run.create(plan.runs_dir)
    session = _Session(plan, run, way_of(plan), on_progress)
    try:
        session.record()
    finally:
        if not session.began:
            shutil.rmtree(run.path, ignore_errors=True)
    return run


class _Session:
    """What one call of `observe` holds in its hands."""

    def __init__(self, plan: WatchPlan, run: Run, way: Way, on_progress: OnProgress) -> None:
        self._plan = plan
        self._run = run
        self._way = way
        self._meta: dict[str, Any] = facts(plan)
        self._on_progress = on_progress
        self._live = LiveWindow(duration_s=plan.seconds)
        self._live_lock = threading.Lock()
        self._told_at = 0
        self._interrupts = 0
        self.began = False
        """A process announced itself: the run is worth keeping."""

    def record(self) -> None:
        """Make the run."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._signals())
            sweep()
            self._run.write_text("guests.txt", "")
            around = Around(self._plan, self._run, stack)
            stack.callback(self._way.end)
            announced = self._plan.announced if self._plan.way == "announced" else None
            drainer = RingDrainer(self._run.path, self._feed, announced)
            stack.callback(drainer.close)
            drainer.start()
            processes = ProcessObserver(lambda: drainer.pids, self._run.path)
            stack.callback(processes.halt, 1.0)
            processes.start()
            self._way.enter(self._run)
            self._meta["title"] = self._way.title
            anchor = self._wait_for_first(drainer)
            self._begin(anchor, around)
            end, detail, failure = self._watch(anchor, drainer, around)
            ended_at = monotonic_ns()
            notes = self._leave()
            drainer.close()
            seen = around.finish(anchor, ended_at)
            self._meta |= {
                "notes": notes,
                "end": end,
                "end_detail": detail,
                "ended_at_s": (ended_at - anchor.monotonic_ns) / NS,
                "processes": len(set(drainer.pids)),
                "pids": drainer.pids,
                "capture_dropped": drainer.dropped,
                "target": {**subject(self._run), **around.target},
                **seen,
            }
            self._run.write_meta(self._meta)
            self._tell("ending", now=True)
            if failure is not None:
                raise failure

    def _wait_for_first(self, drainer: RingDrainer) -> Anchor:
        """Wait until a process announced itself; return the instant at which its capture began."""
        give_up_at = monotonic_ns() + int(max(self._plan.seconds, PATIENCE_S) * NS)
        while True:
            over = self._way.over() is not None
            if over:
                drainer.halt(1.0)
                drainer.step()  # it may have come and gone between two looks
            if (began := drainer.began) is not None:
                return Anchor(*began) if self._plan.way != "announced" else Anchor.now()
            if (failure := drainer.failure) is not None:
                raise failure
            if over or monotonic_ns() > give_up_at:
                raise self._way.silence(self._run)
            if self._interrupts:
                raise KeyboardInterrupt
            self._tell("waiting for the application")
            time.sleep(TICK_S)

    def _begin(self, anchor: Anchor, around: Around) -> None:
        """Write run.json: from here on there is a run."""
        with self._live_lock:
            self._live.begin(anchor.monotonic_ns)
        self._meta |= {
            "started_at": datetime.fromtimestamp(anchor.wall_ns / NS, UTC).isoformat(timespec="milliseconds"),
            "anchor": [anchor.monotonic_ns, anchor.wall_ns],
            "target": around.target,
        }
        self.began = True
        self._run.write_meta(self._meta)

    def _watch(self, anchor: Anchor, drainer: RingDrainer, around: Around) -> tuple[str, str, PoolctlError | None]:
        """Wait for the end of the window; return how it ended, why, and the error to raise once all is put away."""
        until = anchor.monotonic_ns + int(self._plan.seconds * NS)
        while monotonic_ns() < until:
            if self._interrupts:
                return INTERRUPTED, "by a signal", None
            failure = drainer.failure or around.failure
            if failure is not None:
                return INTERRUPTED, failure.message, failure
            if (over := self._way.over()) is not None:
                return COMPLETED, over, None
            self._tell("watching")
            time.sleep(TICK_S)
        return COMPLETED, "", None

    def _leave(self) -> list[str]:
        """Take capture out; return what should be known when that failed: the run is whole all the same."""
        try:
            self._way.leave()
        except PoolctlError as error:
            return [
                f"capture is still in {self._way.title} ({error.message}); it leaves by itself when it is used again"
            ]
        return []

    def _feed(self, records: bytes) -> None:
        with self._live_lock:
            self._live.feed(records)

    def _tell(self, phase: str, *, now: bool = False) -> None:
        at = monotonic_ns()
        if now or at - self._told_at >= PROGRESS_S * NS:
            self._told_at = at
            with self._live_lock:
                progress = self._live.progress(at, phase)
            self._on_progress(progress)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Count SIGINT and SIGTERM instead of dying of them (the second raises KeyboardInterrupt); hand others on."""
        if threading.current_thread() is not threading.main_thread():
            yield  # a test's thread: signals are for the main one
            return

        def interrupted(*_: object) -> None:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt

        def handed_on(number: int, _: object) -> None:
            self._way.forward(number)

        before = {int(number): signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
        before |= {number: signal.signal(number, handed_on) for number in self._way.signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
