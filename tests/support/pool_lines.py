"""Pool lines: a log as a pool would have written it, told line by line.

In: what happened when. Out: text in any format, a file, a run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from poolctl.analysis.leases import Tables, tables
from poolctl.target.pool_log import LogSummary, read_log
from poolctl.trace.run import Run

START = datetime(2026, 3, 14, 9, 30, 0, tzinfo=UTC)
QUEUE, ASYNC = "QueuePool", "AsyncAdaptedQueuePool"


@dataclass(frozen=True)
class Line:
    """One thing that was logged."""

    at: float
    """Seconds since START."""
    text: str
    level: str = "DEBUG"
    logger: str = f"sqlalchemy.pool.impl.{QUEUE}"
    pid: int = 4711
    thread: int = 140_123_456_789_012
    task: str | None = None
    lineno: int = 0

    @property
    def date(self) -> datetime:
        return START + timedelta(seconds=self.at)


def connection(address: int) -> str:
    return f"<psycopg.Connection [IDLE] (host=db.internal user=alice database=orders) at {address:#x}>"


def async_connection(address: int) -> str:
    return f"<AdaptedConnection <asyncpg.connection.Connection object at {address:#x}>>"


@dataclass
class Told:
    """A log being written."""

    lines: list[Line] = field(default_factory=list)
    show: Callable[[int], str] = connection
    common: dict[str, object] = field(default_factory=dict)

    def say(self, at: float, text: str, **more: object) -> None:
        self.lines.append(Line(at, text, **{**self.common, **more}))  # type: ignore[arg-type]

    def created(self, at: float, address: int, **more: object) -> None:
        self.say(at, f"Created new connection {self.show(address)}", lineno=944, **more)

    def checked_out(self, at: float, address: int, **more: object) -> None:
        self.say(at, f"Connection {self.show(address)} checked out from pool", lineno=759, **more)

    def returning(self, at: float, address: int, **more: object) -> None:
        self.say(at, f"Connection {self.show(address)} being returned to pool", lineno=1036, **more)

    def reset(self, at: float, address: int, **more: object) -> None:
        self.say(at, f"Connection {self.show(address)} rollback-on-return", lineno=1519, **more)

    def returned(self, at: float, address: int, **more: object) -> None:
        self.returning(at, address, **more)
        self.reset(at, address, **more)

    def closing(self, at: float, address: int, *, hard: bool = False, **more: object) -> None:
        self.say(at, f"{'Hard-closing' if hard else 'Closing'} connection {self.show(address)}", lineno=363, **more)

    def invalidate(self, at: float, address: int, reason: str = "", **more: object) -> None:
        because = f" (reason: {reason})" if reason else ""
        self.say(at, f"Invalidate connection {self.show(address)}{because}", level="INFO", lineno=884, **more)
        self.closing(at, address, hard=True, **more)

    def used(self, at: float, hold: float, address: int, **more: object) -> None:
        self.checked_out(at, address, **more)
        self.returned(at + hold, address, **more)

    def text(self, style: Callable[[Line], str] | None = None, end: str = "\n") -> str:
        write = style or full
        return "".join(write(line) + end for line in self.lines)

    def read(self, root: Path, style: Callable[[Line], str] | None = None) -> Read:
        root.mkdir(parents=True, exist_ok=True)
        path = root / "pool.log"
        path.write_text(self.text(style), encoding="utf-8")
        return read(path, root)


@dataclass(frozen=True)
class Read:
    """A log that was read."""

    run: Run
    summary: LogSummary
    tables: Tables

    @property
    def leases(self) -> pd.DataFrame:
        """In the order of the requests; a lease from before the log comes last."""
        return self.tables.leases.sort_values(["requested_at_s", "lease"], kind="stable", ignore_index=True)

    @property
    def ends(self) -> list[str]:
        return [str(end) for end in self.leases["end"]]

    @property
    def holds_ms(self) -> list[int | None]:
        return [None if pd.isna(hold) else round(hold * 1000) for hold in self.leases["hold_time_s"]]


def read(path: Path, root: Path) -> Read:
    run = Run.create(root / "runs")
    summary = read_log(path, run)
    return Read(run, summary, tables(run))


def _ms(line: Line) -> str:
    return f"{line.date.microsecond // 1000:03d}"


def full(line: Line) -> str:
    task = f" {line.task}" if line.task else ""
    return f"{line.date:%Y-%m-%dT%H:%M:%S}.{_ms(line)} {line.pid} {line.thread}{task} {line.logger} {line.text}"


def untimed(line: Line) -> str:
    """logging.basicConfig(level=logging.DEBUG)."""
    return f"{line.level}:{line.logger}:{line.text}"


def asctime(line: Line) -> str:
    return f"{line.date:%Y-%m-%d %H:%M:%S},{_ms(line)} {line.level} {line.logger} {line.text}"


def json_lines(line: Line) -> str:
    fields = {"process": line.pid, "thread": line.thread, "taskName": line.task, "message": line.text}
    return json.dumps({"asctime": f"{line.date:%Y-%m-%d %H:%M:%S},{_ms(line)}", "name": line.logger, **fields})


def gunicorn_seconds(line: Line) -> str:
    return f"[{line.date:%Y-%m-%d %H:%M:%S} +0000] [{line.pid}] [{line.level}] {line.text}"
