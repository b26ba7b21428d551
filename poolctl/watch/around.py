"""Around: the server and the proxy, looked at beside the application while a window runs.

In: a WatchPlan and the run directory. Out: `server.jsonl`, `proxy.jsonl`, `proxy-log.jsonl`, and what run.json says of
both. Knows nothing of what is captured.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

from poolctl.clock import NS, Anchor
from poolctl.errors import OutputError, PoolctlError, TargetError
from poolctl.target.failures import BUSY
from poolctl.target.observers import EnduringObserver
from poolctl.target.pgbouncer import PgBouncer
from poolctl.target.pgbouncer_log import PgBouncerLog
from poolctl.target.server import ServerWatch
from poolctl.target.spec import TargetSpec
from poolctl.trace.run import Run
from poolctl.watch.plan import WatchPlan

FLUSH_S = 0.5
"""PgBouncer writes a line at once; what it wrote of the window's end is read this much later."""


class Around:
    """The watchers of one window. Opening them raises TargetError, InputError or UsageError: before anything runs."""

    def __init__(self, plan: WatchPlan, run: Run, stack: contextlib.ExitStack) -> None:
        self._run = run
        self._observers: list[EnduringObserver] = []
        self._watch: ServerWatch | None = None
        self._log = PgBouncerLog(plan.proxy_log) if plan.proxy_log is not None else None
        self.target: dict[str, Any] = {}
        """`server` and `proxy` of the target, for run.json."""
        self.blind: list[str] = []
        if self._log is not None:
            self._log.begin()
        if plan.server is not None:
            self._watch = stack.enter_context(ServerWatch(plan.server, enduring=True))
            self._probe(self._watch, patient=True)
            self._observe(stack, EnduringObserver("poolctl-server", self._watch.sample, run.path / "server.jsonl"))
        if plan.proxy is not None:
            proxy = PgBouncer(plan.proxy)
            stack.callback(proxy.close)
            self.target["proxy"] = dataclasses.asdict(proxy.info())
            self._observe(stack, EnduringObserver("poolctl-proxy", proxy.sample, run.path / "proxy.jsonl"))

    @property
    def failure(self) -> OutputError | None:
        """The full disk."""
        return next((observer.unwritable for observer in self._observers if observer.unwritable), None)

    def finish(self, anchor: Anchor, ended_at: int) -> dict[str, Any]:
        """Look no more, read the log; return what run.json says besides."""
        for observer in self._observers:
            observer.halt(1.0)
        if self._watch is not None and "server" not in self.target:
            with contextlib.suppress(PoolctlError):
                self._probe(self._watch)
        if self._log is not None:
            try:
                self.blind += write_log(self._run, self._log, anchor, ended_at)
            except PoolctlError as error:
                self.blind.append(error.message)
        blind = [*self.blind, *(self._watch.blind if self._watch is not None else ())]
        return {"server_blind": blind} if blind else {}

    def _probe(self, watch: ServerWatch, *, patient: bool = False) -> None:
        """Ask what the server is. A server that takes nobody in any more may be why somebody looks: go on without."""
        try:
            self.target["server"] = dataclasses.asdict(watch.probe())
        except TargetError as error:
            if not patient or BUSY.says not in error.message:
                raise
            self.blind.append(f"the server at the beginning: {BUSY.says}, not even for poolctl")

    def _observe(self, stack: contextlib.ExitStack, observer: EnduringObserver) -> None:
        observer.step()  # the first look is at what was there before
        self._observers.append(observer)
        stack.callback(observer.halt, 1.0)
        observer.start()


def look_around(target: TargetSpec, proxy: str | None) -> dict[str, Any]:
    """Return `server` and `proxy` of a target, for run.json, after one look. Raises TargetError and UsageError."""
    with ServerWatch(target) as watch:
        found: dict[str, Any] = {"server": dataclasses.asdict(watch.probe())}
    if proxy is not None:
        with contextlib.closing(PgBouncer(proxy)) as console:
            found["proxy"] = dataclasses.asdict(console.info())
    return found


def add_log(run: Run, path: Path) -> None:
    """Put what a proxy's log says of a recorded run beside its records. Raises InputError."""
    meta = run.read_meta()
    if not meta.get("anchor"):
        return
    anchor = Anchor(*meta["anchor"])
    until = anchor.monotonic_ns + int(float(meta.get("ended_at_s") or 0) * NS)
    blind = [line for line in write_log(run, PgBouncerLog(path), anchor, until) if line not in _blind(meta)]
    if blind:
        run.write_meta({**meta, "server_blind": [*_blind(meta), *blind]})


def _blind(meta: dict[str, Any]) -> list[str]:
    return [str(line) for line in meta.get("server_blind") or ()]


def write_log(run: Run, log: PgBouncerLog, anchor: Anchor, ended_at: int) -> list[str]:
    """Write `proxy-log.jsonl`; return what could not be seen, one line each."""
    found = log.read(anchor, ended_at + int(FLUSH_S * NS))
    lines = [{"lines": found.lines, "strange": found.strange}, *found.events]
    run.write_text("proxy-log.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    unread = (
        f"the proxy's log: none of its {found.strange:,} lines has an instant of its own (not PgBouncer's `logfile`?)"
    )
    return [unread] if found.strange and not found.lines else []
