"""Session: one load run, from the plan to a recorded run. The control process's part.

In: a LoadPlan, somebody who wants to see the progress. Out: a Run whose files are whole, whatever ended it: the
duration, Ctrl-C, a lost server, a dead worker. No connection, process, server or ring is left behind in any of these.
Knows nothing of the pool: that is in the workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from poolctl.analysis.live import LiveWindow, Progress
from poolctl.clock import NS, Anchor, monotonic_ns
from poolctl.errors import PoolctlError
from poolctl.load.children import WorkerProcess
from poolctl.load.loop import loop_kind
from poolctl.load.orders import Order
from poolctl.load.plan import LoadPlan, facts
from poolctl.target.calibrate import calibrate
from poolctl.target.embedded import EmbeddedPostgres
from poolctl.target.engine import check
from poolctl.target.machine import cpu_times
from poolctl.target.observers import RingDrainer, ServerObserver
from poolctl.target.permission import refuse_writes
from poolctl.target.server import ServerWatch
from poolctl.target.spec import TargetSpec
from poolctl.trace.report import ServerInfo
from poolctl.trace.run import Run

TICK_S = 0.05
PROGRESS_S = 0.2
CONNECT_S = 30.0
"""How long ready workers may take to reach locust's master."""

EXIT_S = 8.0
"""How long a worker may take to close its pool and go, once the load is over."""

PROMPT_S = 0.3
"""The drain after Ctrl-C, and when the server is lost."""

COMPLETED, INTERRUPTED, TARGET_LOST, WORKER_DIED = "completed", "interrupted", "target lost", "worker died"
"""The values of `end` in run.json."""

OnProgress = Callable[[Progress], None]


def rehearse(plan: LoadPlan, on_progress: OnProgress = lambda _: None) -> Run:
    """Make the load run `plan` and return what was recorded; `on_progress` is called five times a second.

    To be called from the main thread. How it ended is in run.json (`end`, `end_detail`). Raises before anything was
    recorded: UsageError, InputError, ConfigError, TargetError, OutputError, KeyboardInterrupt; later only OutputError,
    when the run cannot be written, and KeyboardInterrupt for a second Ctrl-C.
    """
    meta = facts(plan)
    run = Run.create(plan.runs_dir)
    session = _Session(plan, run, meta, on_progress)
    try:
        session.record()
    finally:
        if not session.began:
            shutil.rmtree(run.path, ignore_errors=True)
    return run


class _Session:
    """What one call of `rehearse` holds in its hands."""

    def __init__(self, plan: LoadPlan, run: Run, meta: dict[str, Any], on_progress: OnProgress) -> None:
        self._plan = plan
        self._run = run
        self._meta = meta
        self._on_progress = on_progress
        self._live = LiveWindow(duration_s=plan.seconds)
        self._live_lock = threading.Lock()
        self._told_at = 0
        self._interrupts = 0
        self._workers: list[WorkerProcess] = []
        self.began = False
        """The load began: the run is worth keeping."""

    def record(self) -> None:
        """Make the run."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._signals())
            self._tell("starting")
            target, server = self._open_target(stack)
            self._meta["calibration"] = calibrate(target, server.cores)
            drainer = RingDrainer(self._run.path, self._feed)
            stack.callback(drainer.close)
            watch = stack.enter_context(ServerWatch(target))
            watch.probe()
            self._load(stack, target, server, drainer, ServerObserver(watch, self._run.path / "server.jsonl"))

    def _open_target(self, stack: contextlib.ExitStack) -> tuple[TargetSpec, ServerInfo]:
        target = self._plan.target
        if target.needs_embedded:
            target = target.started(stack.enter_context(EmbeddedPostgres()).url)
        server = check(target)  # first: that a URL is wrong is worth more than what it may not be used for
        if self._plan.found.scenario.writes:
            refuse_writes(target, [self._plan.found.scenario.__name__])
        return target, server

    def _load(
        self,
        stack: contextlib.ExitStack,
        target: TargetSpec,
        server: ServerInfo,
        drainer: RingDrainer,
        observer: ServerObserver,
    ) -> None:
        from poolctl.load.swarm import Swarm  # locust, a second of imports: only when there is a load

        swarm = Swarm(self._plan.found.scenario, self._plan.processes)
        stack.callback(swarm.close)
        stack.callback(self._end_workers, 0.0)
        self._start_workers(target, swarm.port)
        self._wait_until_ready(swarm)
        self._live = LiveWindow(self._plan.seconds, self._pool_size())
        drainer.start()
        observer.start()
        stack.callback(observer.halt, 1.0)
        self._begin(swarm.start(), server)
        before = cpu_times()
        end, detail, failure = self._watch(drainer, observer)
        ended_at, after = monotonic_ns(), cpu_times()
        self._stop(swarm, PROMPT_S if end != COMPLETED or failure else self._plan.drain_s)
        self._end_workers(EXIT_S)
        observer.halt(1.0)
        self._meta |= {
            "end": end,
            "end_detail": detail,
            "cpu": after.since(before) if before and after else None,
            "ended_at_s": (ended_at - self._anchor.monotonic_ns) / NS,
            "workers": [swarm.dealer.endings.get(key) for key in sorted(swarm.dealer.endings)],
            "worker_failures": [w.done["failure"] for w in self._workers if w.done and w.done["failure"]],
            "locust": swarm.statistics(),
        }
        drainer.close()
        self._meta["capture_dropped"] = drainer.dropped
        self._run.write_meta(self._meta)
        if failure is not None:
            raise failure

    def _start_workers(self, target: TargetSpec, port: int) -> None:
        found, plan = self._plan.found, self._plan
        may_set_up = found.scenario.setup is not None and (target.embedded or target.allow_writes)
        for number in range(plan.processes):
            order = Order(
                scenario=f"{found.path}:{found.scenario.__name__}",
                digest=self._meta["tape"],
                seed=plan.seed,
                duration_s=plan.seconds,
                rate=plan.rate,
                target=target,
                directory=str(self._run.path),
                port=port,
                setup=may_set_up and number == 0,
                loop=loop_kind(plan.loop),
            )
            self._workers.append(WorkerProcess(order, number + 1))

    def _wait_until_ready(self, swarm: Any) -> None:
        """Wait until every worker has opened its engine (the first has run the set-up) and reached the master."""
        give_up_at: int | None = None
        while swarm.connected < len(self._workers):
            for worker in self._workers:
                if worker.failed is not None:
                    raise worker.failed
                if worker.ended:
                    self._pause()
                    raise worker.failed or PoolctlError(worker.describe_end(), "if it happens again, report it")
            if all(worker.target for worker in self._workers):
                give_up_at = give_up_at or monotonic_ns() + int(CONNECT_S * NS)
                if monotonic_ns() > give_up_at:
                    raise PoolctlError("the workers did not reach the control process", "is the loopback interface up?")
            self._tell("setting up")
            self._pause()
            if self._interrupts:
                raise KeyboardInterrupt

    def _begin(self, start_at: int, server: ServerInfo) -> None:
        """Write run.json: from here on there is a run."""
        now = Anchor.now()
        self._anchor = Anchor(start_at, now.wall_ns + start_at - now.monotonic_ns)
        self._meta |= {
            "started_at": datetime.fromtimestamp(self._anchor.wall_ns / NS, UTC).isoformat(timespec="milliseconds"),
            "anchor": [self._anchor.monotonic_ns, self._anchor.wall_ns],
            "target": {**(self._workers[0].target or {}), "server": dataclasses.asdict(server)},
            "workers_pids": [worker.pid for worker in self._workers],
            "end": INTERRUPTED,  # until another end is known: also when nobody is left to write it
        }
        self._live.begin(start_at)
        self.began = True
        self._run.write_meta(self._meta)

    def _watch(self, drainer: RingDrainer, observer: ServerObserver) -> tuple[str, str, PoolctlError | None]:
        """Wait for the end of the load; return how it ended, why, and the error to raise once all is put away."""
        until = self._anchor.monotonic_ns + int(self._plan.seconds * NS)
        while monotonic_ns() < until:
            if self._interrupts:
                return INTERRUPTED, "by a signal", None
            if observer.lost is not None:
                return TARGET_LOST, observer.lost.message, None
            if (failure := drainer.failure or observer.unwritable) is not None:
                return INTERRUPTED, failure.message, failure
            for worker in self._workers:
                if worker.ended:
                    return WORKER_DIED, worker.describe_end(), None
            self._tell("running")
            self._pause()
        return COMPLETED, "", None

    def _pool_size(self) -> int | None:
        """Return the pool_size of all workers together; None where the pool has none."""
        sizes = [(worker.target or {})["settings"]["pool_size"] for worker in self._workers]
        return sum(sizes) if all(sizes) else None

    def _stop(self, swarm: Any, drain_s: float) -> None:
        import gevent

        stopping = gevent.spawn(swarm.stop, drain_s, sum(worker.ended for worker in self._workers))
        while not stopping.ready():
            self._tell("draining")
            self._pause()

    def _end_workers(self, wait_s: float) -> None:
        until = monotonic_ns() + int(wait_s * NS)
        for worker in self._workers:
            worker.stop(max(until - monotonic_ns(), 0) / NS)

    def _feed(self, records: bytes) -> None:
        with self._live_lock:
            self._live.feed(records)

    def _tell(self, phase: str) -> None:
        now = monotonic_ns()
        if now - self._told_at >= PROGRESS_S * NS:
            self._told_at = now
            with self._live_lock:
                progress = self._live.progress(now, phase)
            self._on_progress(progress)

    def _pause(self) -> None:
        import gevent

        gevent.sleep(TICK_S)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Count SIGINT and SIGTERM instead of dying of them; the second one raises KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():
            yield  # a test's thread: signals are for the main one
            return

        def interrupted(*_: object) -> None:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt

        before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
