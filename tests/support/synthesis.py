"""Synthesised runs: from a list of leases to a run directory that looks recorded.

In: `Lease` values in seconds since the run began. Out: a `Run` with `run.json`, `events-<pid>.bin` and
`names-<pid>.jsonl`.
`through_pool` gives leases their waits and timeouts by a FIFO pool, so that a test states only arrivals and holds.

    leases = through_pool([(0.0, 0.1), (0.01, 0.1)], size=1)
    run = write_run(tmp_path, leases, settings={"pool_size": 1, "max_overflow": 0})
"""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from poolctl.trace import eventfile
from poolctl.trace.events import LAYOUTS, Flag, Kind
from poolctl.trace.run import Run

EPOCH = 5_000_000_000_000
"""CLOCK_MONOTONIC (ns) at second 0 of every synthesised run."""
WALL = 1_780_000_000_000_000_000
"""The same instant since the Unix epoch."""
PID = 4001
SETTINGS = {
    "pool_size": 5,
    "max_overflow": 10,
    "pool_timeout_s": 30.0,
    "pool_recycle_s": -1.0,
    "pre_ping": False,
    "lifo": False,
}
TARGET = {"dialect": "postgresql", "driver": "asyncpg", "pool_class": "AsyncAdaptedQueuePool"}
SERVER = {"version": "18.4", "max_connections": 100, "reserved_connections": 3, "in_use": 0}

REFUSED = {"timed_out": Flag.TIMED_OUT, "cancelled": Flag.CANCELLED, "failed": Flag.ERROR}
RETURNED = {"returned": Flag.NONE, "invalidated": Flag.INVALIDATED, "abandoned": Flag.ABANDONED}


@dataclass(frozen=True)
class Lease:
    """One request for a connection. All times in seconds; instants since the run began."""

    requested: float
    hold: float | None = 0.010
    """Checkout to checkin. None: never got a connection (see `end`), or was never given back (end="open")."""
    wait: float = 0.0
    connect: float = 0.0
    ping: float = 0.0
    sql: float | Sequence[tuple[float, float]] | None = None
    """One statement from the start of the hold, or (start in the hold, duration) pairs; None: the whole hold."""
    reset: float = 0.0
    checkin: float = 0.0
    end: str = "returned"
    """One of FIELD.md's ends; `cancelled` with a hold: while held; `waiting`: still, when the record stops."""
    site: str = "app/orders.py:42 handler"
    context: str | None = "checkout"
    overflow: bool = False
    fresh: bool = False
    connection: int = 1
    backend_pid: int = 9000
    task: int = 0
    item: int = 0
    intended: float | None = None
    error: str | None = None
    trace_id: int = 0
    pool: int = 1
    process: int = PID
    waiting: int | None = None
    """Others waiting at the request; None: counted from the list."""
    checked_out: int | None = None

    @property
    def acquired(self) -> float:
        return self.requested + self.wait + self.connect + self.ping

    @property
    def got_it(self) -> bool:
        return self.hold is not None or self.end == "open"


@dataclass(frozen=True)
class Operation:
    """One work item of the tape."""

    intended: float
    ended: float
    started: float | None = None
    item: int = 0
    client: int = 0
    context: str = "checkout"
    outcome: str = "done"
    error: str | None = None
    process: int = PID


@dataclass(frozen=True)
class Sample:
    """The generator looking at itself: `cpu` of `wall` seconds."""

    at: float
    cpu: float = 0.1
    wall: float = 1.0
    in_flight: int = 0
    process: int = PID


@dataclass
class Names:
    """Numbers for names, handed out at first sight."""

    entries: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))

    def number(self, kind: str, name: str | None) -> int:
        if name is None:
            return 0
        return self.entries[kind].setdefault(name, len(self.entries[kind]) + 1)


def through_pool(
    work: Iterable[tuple[float, float]],
    size: int,
    *,
    overflow: int = 0,
    timeout: float = 30.0,
    connect: float = 0.0,
    **fields: Any,
) -> list[Lease]:
    """Return leases for (arrival, hold) pairs through a FIFO pool of `size` + `overflow` that refuses after `timeout`.

    `fields` go to every Lease (site, context, sql=…; a callable gets the index of the work item).
    """
    free: list[tuple[float, int]] = []
    opened, leases = 0, []
    for index, (at, hold) in enumerate(sorted((round(at, 6), round(hold, 6)) for at, hold in work)):
        extra = {name: value(index) if callable(value) else value for name, value in fields.items()}
        base = Lease(at, hold, item=index, task=index + 1, **extra)
        idle = [pair for pair in free if pair[0] <= at]
        if idle:
            slot = min(idle)
            free.remove(slot)
            heapq.heapify(free)
            lease = replace(base, connection=slot[1])
        elif opened < size + overflow:
            opened += 1
            lease = replace(base, connection=opened, fresh=True, connect=connect, overflow=opened > size)
        else:
            ready = free[0][0]
            if ready - at > timeout:
                leases.append(
                    replace(base, hold=None, wait=timeout, end="timed_out", connection=0, error="TimeoutError")
                )
                continue
            _, number = heapq.heappop(free)
            lease = replace(base, wait=max(0.0, round(ready - at, 6)), connection=number)
        heapq.heappush(free, (round(lease.acquired + hold, 6), lease.connection))
        leases.append(lease)
    return leases


def operations_of(leases: Iterable[Lease], *, lag: float = 0.0, client: int = 0) -> list[Operation]:
    """Return one operation for each lease: intended at the request, ended with the hold (or the refusal)."""
    outcomes = {"timed_out": "timed_out", "cancelled": "cancelled", "failed": "failed"}
    return [
        Operation(
            intended=lease.requested - lag,
            started=lease.requested,
            ended=lease.acquired + (lease.hold or 0.0),
            item=lease.item,
            client=client,
            context=lease.context or "checkout",
            outcome=outcomes.get(lease.end, "done"),
            error=lease.error,
            process=lease.process,
        )
        for lease in leases
    ]


def write_run(
    root: Path,
    leases: Sequence[Lease] = (),
    *,
    settings: dict[str, Any] | None = None,
    operations: Sequence[Operation] = (),
    samples: Sequence[Sample] = (),
    name: str = "20260101-000000-abcd",
    duration: float | None = None,
    server: dict[str, Any] | None = None,
    closed: Sequence[tuple[float, int]] = (),
    lags: Sequence[tuple[float, ...]] = (),
    capture: dict[str, Any] | None = None,
    lose: Sequence[int] = (),
    torn: int = 0,
    pool_class: str = "AsyncAdaptedQueuePool",
    pools: dict[int, dict[str, Any]] | None = None,
    stacks: dict[str, list[str]] | None = None,
    sync_sites: Sequence[str] = (),
    inherited: Sequence[int] = (),
    idle_until: dict[str, str] | None = None,
    around: dict[str, Sequence[dict[str, Any]]] | None = None,
    proxy: dict[str, Any] | None = None,
    **meta: Any,
) -> Run:
    """Write a whole run under `root`.

    `closed` are (instant, connection) of closed connections; `lags` (instant, delay, of it without a processor) of the
    event loop; `lose` are sequence numbers (of each process) whose records were dropped; `torn` bytes of a record are
    left at the end of each event file; `pools` overrides what a pool says of itself, by its number; `stacks` are of
    sites, innermost first; `sync_sites` asked a sync pool on a loop; `inherited` are connections of the last process
    that are its parent's; `idle_until` is the place at which leases of a site used their connection again;
    `around` are the lines of `server.jsonl`, `proxy.jsonl` and `proxy-log.jsonl` (`at`, in seconds, becomes `at_ns`);
    `proxy` are the pooler's settings; `meta` overrides keys of run.json.
    """
    run = Run(root / name)
    run.path.mkdir(parents=True, exist_ok=True)
    for file, lines in (around or {}).items():
        told = [{"at_ns": _ns(line["at"]), **{k: v for k, v in line.items() if k != "at"}} for line in lines]
        (run.path / file).write_text("".join(json.dumps(line) + "\n" for line in told))
    ends = [lease.acquired + (lease.hold or 0.0) for lease in leases] + [operation.ended for operation in operations]
    length = duration if duration is not None else max(ends, default=0.0)
    pids = sorted({item.process for group in (leases, operations, samples) for item in group} or {PID})
    effective = {**SETTINGS, **(settings or {})}
    for pid in pids:
        names = Names()
        mine = [lease for lease in leases if lease.process == pid]
        records = _records(mine, names)
        records += [_operation(item, names) for item in operations if item.process == pid]
        records += [_sample(item) for item in samples if item.process == pid]
        if pid == pids[0]:
            records += [
                (_ns(at), Kind.CLOSE, Flag.NONE, 0, 1, 0, (0, 0, connection, 0, 0)) for at, connection in closed
            ]
            for at, lag, *queued in lags:
                payload = (_span(lag), _span(sum(queued)), 0, 0)
                records.append((_ns(at), Kind.LAG, Flag.NONE, 0, 0, 0, payload))
        data = pack(records, pid, lose)
        (run.path / f"events-{pid}.bin").write_bytes(data + b"\x01" * torn)
        _write_names(
            run.path / f"names-{pid}.jsonl",
            pid,
            names,
            {"class": pool_class, "settings": effective},
            sorted({lease.pool for lease in mine} or {1}),
            capture,
            pools or {},
            {
                "stacks": stacks or {},
                "sync": sync_sites,
                "inherited": inherited if pid == pids[-1] else (),
                "idle": idle_until or {},
            },
        )
    run.write_meta(
        {
            "command": "loadtest",
            "scenario": "synthetic",
            "seed": 7,
            "started_at": "2026-05-28T20:26:40+00:00",
            "anchor": [EPOCH, WALL],
            "duration_s": length,
            "ended_at_s": length,
            "processes": len(pids),
            "target": {
                **TARGET,
                "pool_class": pool_class,
                "settings": effective,
                "server": {**SERVER, **(server or {})},
                "proxy": proxy,
            },
            "load": {
                "arrivals": len(operations) or len(leases),
                "offered_per_s": (len(operations) or len(leases)) / length if length else 0.0,
                "model": "open",
            },
            "objectives": [],
            "end": "completed",
            **meta,
        }
    )
    return run


def header(pid: int) -> bytes:
    """The 64 bytes at the start of an event file."""
    return eventfile.header(pid, (EPOCH, WALL))


Record = tuple[int, Kind, Flag, int, int, int, tuple[int, ...]]
"""at, kind, flags, lease, pool, site, payload."""


def pack(records: Iterable[Record], pid: int = PID, lose: Sequence[int] = ()) -> bytes:
    """Return an event file: the header, then the records in the order of their instants, numbered from 1."""
    lost, body = set(lose), [header(pid)]
    for sequence, (at, kind, flags, lease, pool, site, payload) in enumerate(sorted(records, key=lambda r: r[0]), 1):
        if sequence not in lost:
            body.append(LAYOUTS[kind].pack(sequence, at, lease, int(kind), int(flags), pool, site, *payload))
    return b"".join(body)


def _ns(seconds: float) -> int:
    return EPOCH + round(seconds * 1e9)


def _span(seconds: float) -> int:
    return round(seconds * 1e9)


def _records(leases: Sequence[Lease], names: Names) -> list[Record]:
    records: list[Record] = []
    counts = _counts(leases)
    for number, lease in enumerate(leases, 1):
        waiting, checked_out = counts[number - 1]
        site, context = names.number("site", lease.site), names.number("context", lease.context)
        error = names.number("error", lease.error)

        def add(
            at: int,
            kind: Kind,
            flags: Flag,
            *payload: int,
            number: int = number,
            lease: Lease = lease,
            site: int = site,
        ) -> None:
            records.append((at, kind, flags, number, lease.pool, site, payload))

        intended = _ns(lease.intended) if lease.intended is not None else 0
        requested, acquired = _ns(lease.requested), _ns(lease.acquired)
        wait, connect, ping = _span(lease.wait), _span(lease.connect), _span(lease.ping)
        waiting = lease.waiting if lease.waiting is not None else waiting
        checked_out = lease.checked_out if lease.checked_out is not None else checked_out
        add(
            requested,
            Kind.REQUEST,
            Flag.NONE,
            intended,
            lease.task,
            context,
            lease.item,
            waiting,
            checked_out,
            checked_out,
        )
        if lease.trace_id:
            add(requested, Kind.TRACE, Flag.NONE, lease.trace_id >> 64, lease.trace_id & (2**64 - 1), 0, 0)
        if connect:
            add(
                requested + wait + connect,
                Kind.CONNECT,
                Flag.NONE,
                connect,
                0,
                lease.connection,
                lease.backend_pid,
                0,
                0,
            )
        if lease.end == "waiting":
            continue
        if not lease.got_it:
            add(acquired, Kind.REFUSED, REFUSED[lease.end], wait, connect, ping, error, waiting, checked_out)
            continue
        flags = (Flag.OVERFLOW if lease.overflow else Flag.NONE) | (Flag.FRESH if lease.fresh else Flag.NONE)
        add(acquired, Kind.CHECKOUT, flags, wait, connect, ping, lease.connection, lease.backend_pid)
        parts = _statements(lease)
        for start, length in parts:
            add(
                acquired + _span(start + length),
                Kind.STATEMENT,
                Flag.NONE,
                acquired + _span(start),
                names.number("statement", "select 1"),
                0,
                0,
                0,
            )
        if lease.hold is None:
            continue
        ended, sql = acquired + _span(lease.hold), _span(sum(length for _, length in parts))
        if lease.end == "detached":
            add(ended, Kind.DETACH, Flag.NONE, sql, 0, lease.connection, len(parts), 1, 0)
        elif lease.end == "cancelled":
            add(ended, Kind.CHECKIN, Flag.CANCELLED, sql, 0, 0, len(parts), 1)
        else:
            add(ended, Kind.CHECKIN, RETURNED[lease.end], sql, _span(lease.reset), _span(lease.checkin), len(parts), 1)
    return records


def _statements(lease: Lease) -> list[tuple[float, float]]:
    if lease.sql is None:
        return [(0.0, lease.hold)] if lease.hold else []
    if isinstance(lease.sql, int | float):
        return [(0.0, float(lease.sql))] if lease.sql else []
    return list(lease.sql)


def _counts(leases: Sequence[Lease]) -> list[tuple[int, int]]:
    """(waiting, checked out) at each request, others only, by a sweep over the list."""
    moments: list[tuple[float, int, str, int]] = []
    for index, lease in enumerate(leases):
        moments.append((lease.requested, 1, "ask", index))
        if lease.wait:
            moments.append((lease.requested, 2, "queue", 1))
            moments.append((lease.requested + lease.wait, 0, "queue", -1))
        if lease.got_it:
            moments.append((lease.acquired, 3, "hold", 1))
            if lease.hold is not None:
                moments.append((lease.acquired + lease.hold, 0, "hold", -1))
    state, found = {"queue": 0, "hold": 0}, [(0, 0)] * len(leases)
    for _, _, what, value in sorted(moments):
        if what == "ask":
            found[value] = (max(0, state["queue"]), max(0, state["hold"]))
        else:
            state[what] += value
    return found


def _operation(item: Operation, names: Names) -> Record:
    flags = {
        "done": Flag.NONE,
        "timed_out": Flag.TIMED_OUT,
        "cancelled": Flag.CANCELLED,
        "failed": Flag.ERROR,
        "skipped": Flag.SKIPPED,
    }
    started = item.intended if item.started is None else item.started
    payload = (
        _ns(item.intended),
        _ns(started),
        names.number("context", item.context),
        item.item,
        item.client,
        names.number("error", item.error),
    )
    return (_ns(item.ended), Kind.OPERATION, flags[item.outcome], 0, 0, 0, payload)


def _sample(item: Sample) -> Record:
    return (_ns(item.at), Kind.SAMPLE, Flag.NONE, 0, 0, 0, (_span(item.cpu), _span(item.wall), item.in_flight, 0, 0))


def _write_names(
    path: Path,
    pid: int,
    names: Names,
    pool: dict[str, Any],
    pools: Sequence[int],
    capture: dict[str, Any] | None,
    own: dict[int, dict[str, Any]],
    told: dict[str, Any],
) -> None:
    lines: list[dict[str, Any]] = [
        {
            "kind": "process",
            "pid": pid,
            "python": "3.11",
            "sqlalchemy": "2.1.9",
            "anchor": [EPOCH, WALL],
            "argv0": "app",
        }
    ]
    lines += [
        {
            "kind": "pool",
            "n": n,
            **pool,
            "dialect": TARGET["dialect"],
            "driver": TARGET["driver"],
            "url": "postgresql+asyncpg://db/shop",
            "engine": f"engine-{n}",
            **own.get(n, {}),
        }
        for n in pools
    ]
    for kind, table in names.entries.items():
        for text, n in table.items():
            if kind == "site":
                place, function = text.rsplit(" ", 1)
                file, line = place.rsplit(":", 1)
                stack = [_place(one) for one in told["stacks"].get(text, ())]
                entry = {"kind": "site", "n": n, "file": file, "line": int(line), "function": function}
                lines.append(entry | ({"stack": stack} if stack else {}))
                if text in told["idle"]:
                    lines.append({"kind": "idle", "n": n, "site": n, "until": _place(told["idle"][text])})
                if text in told["sync"]:
                    lines.append({"kind": "sync_in_loop", "n": n})
            elif kind == "statement":
                lines.append({"kind": "statement", "n": n, "text": text})
            else:
                lines.append({"kind": kind, "n": n, "name": text})
    lines += [{"kind": "inherited", "n": n, "backend_pid": 9000 + n} for n in told["inherited"]]
    if capture is not None:
        lines.append({"kind": "capture", **capture})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _place(text: str) -> tuple[str, int, str]:
    place, function = text.rsplit(" ", 1)
    file, line = place.rsplit(":", 1)
    return file, int(line), function
