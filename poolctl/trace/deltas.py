"""Deltas: at DEBUG, each change of a pool is one record of the logger `poolctl.pool`. In poolctl, not in the guest.

In: raw records as a drain returns them, and the names file they refer to. Out: log records, dated when it happened. A
log line in the application would cost ten times what capture does; so the lines are made where the records are read,
and while the level is off a poll costs one look at it.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from poolctl.trace.events import LAYOUTS, PAYLOADS, RECORD_BYTES, Flag, Kind

LOGGER = logging.getLogger("poolctl.pool")
"""Everything is logged here, at DEBUG."""

Said = dict[str, int]


class DeltaLog:
    """The changes of the pools of any number of processes."""

    def __init__(self) -> None:
        self._processes: dict[Path, Deltas] = {}

    def feed(self, names: Path, records: bytes) -> None:
        """Log what these records of the process with this names file say, unless nobody listens."""
        if LOGGER.isEnabledFor(logging.DEBUG):
            if names not in self._processes:
                self._processes[names] = Deltas(names)
            self._processes[names].feed(records)


class Deltas:
    """The changes of the pools of one process. `names` is its names file, which may still grow."""

    def __init__(self, names: Path) -> None:
        self._path = names
        self._read = 0
        self._names: dict[tuple[str, int], dict[str, Any]] = {}
        self._checked_out: Counter[int] = Counter()
        self._wall_minus_monotonic_ns = 0

    def feed(self, records: bytes) -> None:
        """Log what these records say."""
        self._read_names()
        for start in range(0, len(records) // RECORD_BYTES * RECORD_BYTES, RECORD_BYTES):
            kind = records[start + 24]
            if kind in _LINES:
                self._log(Kind(kind), LAYOUTS[Kind(kind)].unpack_from(records, start))

    def _log(self, kind: Kind, fields: tuple[int, ...]) -> None:
        _, at, lease, _, flags, pool, site, *payload = fields
        said = dict(zip((name for name, _ in PAYLOADS[kind]), payload, strict=True))
        if kind == Kind.CHECKOUT:
            self._checked_out[pool] += 1
        elif kind in (Kind.CHECKIN, Kind.DETACH):
            self._checked_out[pool] = max(0, self._checked_out[pool] - 1)
        parts = [kind.name.lower(), f"pool={pool}"]
        if lease:
            parts.append(f"lease={lease}")
        parts += _LINES[kind](said)
        if kind in (Kind.CHECKOUT, Kind.CHECKIN, Kind.REFUSED, Kind.DETACH):
            parts.append(f"checked_out={self._checked_out[pool]}")
        if said.get("error"):
            parts.append(f"error={self._name('error', said['error'])}")
        if flags:
            parts.append("flags=" + "|".join(flag.name.lower() for flag in Flag(flags) if flag.name))
        if said.get("context"):
            parts.append(f"context={self._name('context', said['context'])}")
        if site:
            parts.append(f"site={self._site(site)}")
        record = LOGGER.makeRecord(LOGGER.name, logging.DEBUG, "", 0, " ".join(parts), (), None)
        record.created = (at + self._wall_minus_monotonic_ns) / 1e9
        record.msecs = record.created % 1 * 1000
        LOGGER.handle(record)

    def _read_names(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                entry = json.loads(line)
                self._names[entry["kind"], int(entry.get("n", 0))] = entry
        anchor = self._names.get(("process", 0), {}).get("anchor", [0, 0])
        self._wall_minus_monotonic_ns = anchor[1] - anchor[0]

    def _name(self, kind: str, number: int) -> str:
        return str(self._names.get((kind, number), {}).get("name", "?"))

    def _site(self, number: int) -> str:
        entry = self._names.get(("site", number))
        return "?" if entry is None else f"{entry['file']}:{entry['line']} {entry['function']}"


def _times(*names: str) -> Callable[[Said], list[str]]:
    return lambda said: [f"{name}={said[name] / 1e6:.3f}ms" for name in names]


def _with_connection(*names: str) -> Callable[[Said], list[str]]:
    return lambda said: [*_times(*names)(said), f"connection={said['connection']}"]


_LINES: dict[int, Callable[[Said], list[str]]] = {
    Kind.REQUEST: lambda said: [f"waiting={said['waiting']}", f"open={said['open']}"],
    Kind.CHECKOUT: _with_connection("wait", "connect", "ping"),
    Kind.REFUSED: _times("wait", "connect", "ping"),
    Kind.CHECKIN: lambda said: [*_times("sql", "reset", "checkin")(said), f"statements={said['statements']}"],
    Kind.DETACH: _with_connection("sql"),
    Kind.CONNECT: _with_connection("connect"),
    Kind.CLOSE: _with_connection("close"),
    Kind.INVALIDATE: _with_connection(),
}
"""What is said of each kind that changes a pool; statements and the generator's own records do not."""
