"""Log records: what was read from a log, as the records and names of a run.

In: leases and connections of the processes that a log tells of. Out: `events-<number>.bin` and `names-<number>.jsonl`
in the run directory, as capture would have left them, so that one analysis serves both. Instants are nanoseconds since
1970. Holds no file open: a log may tell of thousands of processes. Knows nothing of messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from poolctl.trace import eventfile
from poolctl.trace.events import LAYOUTS, Kind
from poolctl.trace.run import Run, output_error

BUFFERED = 8 << 20
"""Bytes of records kept in memory, all processes together."""
MOST_CONTEXTS = 512
"""Contexts named in a process; a log may hold a new one in every line."""
INVENTED = 10_000_000
"""Processes without a number, or with the same in two containers, get theirs from here: no pid is so large."""


@dataclass(slots=True)
class LogPool:
    """One pool of one process, as far as its lines tell."""

    number: int
    pool_class: str
    name: str
    """Its logging name; empty for none."""
    dialect: str = "?"
    driver: str = "?"
    is_async: bool = False
    shared: bool = False
    """One connection for everybody."""
    held: int = 0
    """Connections out, as far as the log tells."""
    taken: int = 0
    """Checkouts, all in all."""
    pinged: bool | None = None
    """Pre-ping: seen, not seen where it would have been, or None: nothing to tell from."""
    settings: dict[str, Any] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """Return its line of the names file."""
        known = {"pool_size": None, "max_overflow": None, "pool_timeout_s": None, "pool_recycle_s": None, "lifo": None}
        return {
            "kind": "pool",
            "n": self.number,
            "class": self.pool_class,
            "dialect": self.dialect,
            "driver": self.driver,
            "url": None,
            "settings": {**known, "pre_ping": self.pinged, **self.settings},
            "engine": f"{self.pool_class}.{self.name}",
            "logging_name": self.name or None,
        }


@dataclass(slots=True)
class LogProcess:
    """One process that wrote to the log."""

    number: int
    label: str
    """Its container or name, where the log says one."""
    known: dict[str, Any] = field(default_factory=dict)
    """Settings of its pools."""
    pools: dict[tuple[str, str], LogPool] = field(default_factory=dict)
    contexts: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    leases: int = 0
    connections: int = 0
    sequence: int = 0
    buffer: bytearray = field(default_factory=bytearray)
    begun: bool = False

    def pool(self, pool_class: str, name: str) -> LogPool:
        """Return the pool of this class and logging name."""
        found = self.pools.get((pool_class, name))
        if found is None:
            found = self.pools[pool_class, name] = LogPool(len(self.pools) + 1, pool_class, name)
            found.is_async = pool_class.startswith("AsyncAdapted")
            found.shared = pool_class == "StaticPool"
            found.settings.update(self.known)
        return found

    def context(self, name: str) -> int:
        """Return the number of a context; 0 for none."""
        return _number(self.contexts, name)

    def error(self, name: str) -> int:
        """Return the number of an exception's class; 0 for none."""
        return _number(self.errors, name)

    def lease(self) -> int:
        """Return a new lease's number."""
        self.leases += 1
        return self.leases

    def connection(self) -> int:
        """Return a new connection's number."""
        self.connections += 1
        return self.connections


def _number(names: dict[str, int], name: str) -> int:
    if not name or (name not in names and len(names) >= MOST_CONTEXTS):
        return 0
    return names.setdefault(name, len(names) + 1)


class Records:
    """The files of a run, as they are written. Every method may raise OutputError."""

    def __init__(self, run: Run, known: dict[str, Any] | None = None) -> None:
        self.run = run
        self.known = known or {}
        """Settings of the pools that the user knows."""
        self.processes: dict[tuple[str, int | str], LogProcess] = {}
        self.written = 0
        self.anchor = (0, 0)
        """The log's first instant, and the same in nanoseconds since 1970, UTC. Set it before the first record."""
        self._taken: set[int] = set()
        self._buffered = 0

    def process(self, told: tuple[str, int | str]) -> LogProcess:
        """Return the process that the log calls `told`: (container, pid or name)."""
        found = self.processes.get(told)
        if found is None:
            source, pid = told
            number = pid if isinstance(pid, int) and pid not in self._taken else INVENTED + len(self.processes)
            self._taken.add(number)
            label = " ".join(part for part in (source, pid if isinstance(pid, str) else "") if part)
            found = self.processes[told] = LogProcess(number, label, self.known)
        return found

    def write(
        self, process: LogProcess, kind: Kind, at: int, lease: int, flags: int, pool: LogPool, *payload: int
    ) -> None:
        """Append one record."""
        process.sequence += 1
        process.buffer += LAYOUTS[kind].pack(process.sequence, at, lease, kind, flags, pool.number, 0, *payload)
        self.written += 1
        self._buffered += 64
        if self._buffered >= BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Put what is in memory into the files."""
        for process in self.processes.values():
            path = self.run.path / f"events-{process.number}.bin"
            try:
                with path.open("ab") as file:
                    if not process.begun:
                        file.write(eventfile.header(process.number & 0xFFFF_FFFF, self.anchor))
                        process.begun = True
                    file.write(process.buffer)
            except OSError as error:
                raise output_error(path, error) from None
            process.buffer.clear()
        self._buffered = 0

    def finish(self, source: str, blind: Iterable[str]) -> None:
        """Write the rest, and the names of everything. `blind`: what this log cannot tell."""
        self.flush()
        sentences = list(blind)
        for process in self.processes.values():
            entries: list[dict[str, Any]] = [
                {
                    "kind": "process",
                    "pid": process.number,
                    "python": None,
                    "sqlalchemy": None,
                    "anchor": list(self.anchor),
                    "argv0": process.label or source,
                },
                *(pool.entry() for pool in process.pools.values()),
                *({"kind": "context", "n": number, "name": name} for name, number in process.contexts.items()),
                *({"kind": "error", "n": number, "name": name} for name, number in process.errors.items()),
                {"kind": "capture", "dropped": 0, "errors": 0, "overhead_ns": 0, "blind": sentences},
            ]
            path = self.run.path / f"names-{process.number}.jsonl"
            try:
                path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
            except OSError as error:
                raise output_error(path, error) from None
