"""Leases: the tables of a run, from its records or from the tables kept beside them.

In: a run directory. Out: `Tables`, pandas frames with FIELD.md's words as columns, times in seconds, instants in
seconds since the run began (`anchor` of run.json, else the first record). Knows nothing of statistics, settings
or verdicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from poolctl.analysis import cache, columns, frames, lease_columns
from poolctl.analysis.records import Array, Columns, first_instant, read
from poolctl.trace.names import read_names
from poolctl.trace.report import CaptureInfo, PoolSettings
from poolctl.trace.run import Run

STACK = 8
"""Frames of a site's stack that are kept."""
OVERHEAD_SAMPLES = 10
"""Capture times itself on every 64th lease or so; from fewer of them nothing is estimated."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool of one process, as it was configured."""

    process: int
    number: int
    pool_class: str
    settings: PoolSettings
    engine: str = ""
    url: str = ""
    """Without a password; empty where it was not seen."""
    is_async: bool = True
    in_loop: bool = False
    """A sync pool that was first asked on a thread whose event loop was running."""
    name: str = ""
    """`pool_logging_name`."""
    met_at_s: float | None = None
    """When it was first asked; None: not told, or before the run."""


@dataclass(frozen=True, slots=True)
class Told:
    """What capture noticed besides, once each."""

    stacks: dict[str, list[str]] = field(default_factory=dict)
    """Of a site: the application's frames from there outward, the first time it asked."""
    inherited: list[tuple[int, int, int]] = field(default_factory=list)
    """Connections that a forked child used although they are its parent's: (process, connection, backend pid)."""
    sync_sites: list[str] = field(default_factory=list)
    """Sites that asked a sync pool on a thread whose event loop was running."""
    idle_until: dict[str, list[str]] = field(default_factory=dict)
    """Of a site whose leases hold without using the connection: the lines that ended it, as they were first seen."""


@dataclass
class Tables:
    """A run as tables. Rows are in the order of the requests within each process."""

    leases: pd.DataFrame
    """One row a lease (`frames.LEASES`). The acquire and wait times of a refused lease count until its refusal."""
    operations: pd.DataFrame
    """One row a work item of the load generator (`frames.OPERATIONS`); empty without one."""
    connections: pd.DataFrame
    """One row a connection opened, failed to open, or closed (`event`), in the order of time."""
    lags: pd.DataFrame
    """Delays of the processes' event loops (process, at_s, lag_s): what was due at at_s − lag_s ran at at_s."""
    samples: pd.DataFrame
    """The generator's look at itself, once a second: cpu_s of wall_s used by its loop's thread."""
    load_statements: Callable[[], pd.DataFrame]
    """Reads the statements when they are first wanted: often the largest table, and seldom needed."""
    pools: list[Pool] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    """run.json."""
    capture: CaptureInfo = field(default_factory=CaptureInfo)
    told: Told = field(default_factory=Told)
    length_s: float = 0.0
    """From second 0 to the end of the load (`ended_at_s` of run.json), else to the last record."""

    @cached_property
    def statements(self) -> pd.DataFrame:
        """One row a statement: process, lease, started_at_s, sql_time_s, control (a commit or rollback)."""
        return self.load_statements()


def tables(run: Run) -> Tables:
    """Return the run's tables: those kept beside the records when they still fit them, else built anew and kept.

    Raises InputError when run.json or an event file cannot be read. A disk that cannot take the tables is no error:
    they are built again next time.
    """
    meta = run.read_meta()
    files = [path for events in run.event_files() for path in (events, run.names_file(events)) if path.is_file()]
    mark = {
        "anchor": meta.get("anchor"),
        "files": [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files],
    }
    found = cache.load(run.path, mark if files else None)
    if found is None:
        found = _build(run, meta)
        if cache.store(run.path, mark, found):
            found.frames.pop("statements")
    kept = found.frames
    return Tables(
        leases=frames.with_all_ends(kept["leases"]),
        operations=kept["operations"],
        connections=kept["connections"],
        lags=kept["lags"],
        samples=kept["samples"],
        load_statements=lambda: kept["statements"] if "statements" in kept else cache.frame(run.path, "statements"),
        pools=[_pool(entry, int((meta.get("anchor") or [0])[0])) for entry in found.facts["pools"]],
        meta=meta,
        capture=_capture_info(found.facts["capture"], meta, kept["leases"]),
        told=_told(found.facts),
        length_s=float(meta.get("ended_at_s") or found.facts["last_s"]),
    )


@dataclass
class _Labels:
    """Names of all processes under one numbering, so that their columns can be joined without strings."""

    codes: dict[str, int] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)

    def lookup(self, entries: dict[int, dict[str, Any]], text: Callable[[dict[str, Any]], str]) -> Array:
        """Return an array from one process's numbers to the common ones; -1 for none."""
        table = np.full(max(entries, default=0) + 2, -1, np.int32)
        for number, entry in entries.items():
            name = text(entry)
            if name not in self.codes:
                self.codes[name] = len(self.codes)
                self.entries.append(entry)
            table[number] = self.codes[name]
        return table


@dataclass
class _Gathered:
    """What the processes said, as it is read: one after the other, so that only one's records are in memory."""

    origin: int
    sites: _Labels = field(default_factory=_Labels)
    contexts: _Labels = field(default_factory=_Labels)
    errors: _Labels = field(default_factory=_Labels)
    parts: dict[str, list[dict[str, Array]]] = field(default_factory=lambda: {name: [] for name in cache.FRAMES})
    counters: list[dict[str, Any]] = field(default_factory=list)
    pools: list[list[Any]] = field(default_factory=list)
    inherited: list[list[int]] = field(default_factory=list)
    sync_sites: dict[str, None] = field(default_factory=dict)
    idle_until: dict[str, list[str]] = field(default_factory=dict)
    events: int = 0
    lost: int = 0
    last_s: float = 0.0

    def add(self, events: Path, names_file: Path) -> None:
        """Read one process."""
        raw, names = read(events), read_names(names_file)
        look = {
            "site": self.sites.lookup(names["site"], site_text),
            "context": self.contexts.lookup(names["context"], _name),
            "error": self.errors.lookup(names["error"], _name),
        }
        for name, found in _of_process(raw, look, self.origin).items():
            rows = len(found[next(iter(found))])
            self.parts[name].append({"process": np.full(rows, raw.pid, np.int64), **found})
        self.events, self.lost = self.events + raw.count, self.lost + raw.lost
        self.last_s = max(self.last_s, columns.last_instant(raw, self.origin))
        self.counters.append(names["capture"].get(0, {}))
        self.pools += [[raw.pid, number, entry] for number, entry in sorted(names["pool"].items())]
        self.inherited += [[raw.pid, number, int(said["backend_pid"])] for number, said in names["inherited"].items()]
        asked = (names["site"][number] for number in names["sync_in_loop"] if number in names["site"])
        self.sync_sites |= dict.fromkeys(map(site_text, asked))
        for said in names["idle"].values():
            if said["site"] in names["site"]:
                lines = self.idle_until.setdefault(site_text(names["site"][said["site"]]), [])
                file, line, function = said["until"]
                if (text := f"{file}:{line} {function}") not in lines:
                    lines.append(text)

    def stacks(self) -> dict[str, list[str]]:
        """Return the innermost frames of each site's stack."""
        return {
            text: [f"{file}:{line} {function}" for file, line, function in entry["stack"][:STACK]]
            for text, entry in zip(self.sites.codes, self.sites.entries, strict=True)
            if len(entry.get("stack") or ()) > 1
        }

    def frames(self) -> dict[str, pd.DataFrame]:
        """Join the processes; what was gathered is used up."""
        parts, contexts, errors = self.parts, list(self.contexts.codes), list(self.errors.codes)
        return {
            "leases": frames.leases(parts.pop("leases"), self.sites.entries, list(self.sites.codes), contexts, errors),
            "operations": frames.operations(parts.pop("operations"), contexts, errors),
            "connections": frames.connections(parts.pop("connections")),
            "lags": frames.lags(parts.pop("lags")),
            "samples": frames.samples(parts.pop("samples")),
            "statements": frames.statements(parts.pop("statements")),
        }


def _build(run: Run, meta: dict[str, Any]) -> cache.Kept:
    files = run.event_files()
    origin = int(meta["anchor"][0]) if meta.get("anchor") else min(map(first_instant, files), default=0)
    gathered = _Gathered(origin)
    for path in files:
        gathered.add(path, run.names_file(path))
    facts = {
        "capture": _capture(gathered.events, gathered.lost, gathered.counters),
        "pools": gathered.pools,
        "stacks": gathered.stacks(),
        "inherited": gathered.inherited,
        "sync_sites": list(gathered.sync_sites),
        "idle_until": gathered.idle_until,
        "last_s": gathered.last_s,
    }
    return cache.Kept(gathered.frames(), facts)


def _of_process(raw: Columns, look: dict[str, Array], origin: int) -> dict[str, dict[str, Array]]:
    operations = columns.operations_of(raw, look, origin)
    leases = lease_columns.leases_of(raw, look, origin)
    leases["client"] = columns.clients_of(leases, operations)
    return {
        "leases": leases,
        "operations": operations,
        "connections": columns.connections_of(raw, origin),
        "lags": columns.lags_of(raw, origin),
        "samples": columns.samples_of(raw, origin),
        "statements": columns.statements_of(raw, origin),
    }


def site_text(entry: dict[str, Any]) -> str:
    """Return a site as everybody sees it: `file:line function`."""
    return f"{entry.get('file', '?')}:{entry.get('line', 0)} {entry.get('function', '?')}"


def _name(entry: dict[str, Any]) -> str:
    return str(entry.get("name", "?"))


def _told(facts: dict[str, Any]) -> Told:
    inherited = [(int(process), int(number), int(pid)) for process, number, pid in facts["inherited"]]
    return Told(facts["stacks"], inherited, facts["sync_sites"], facts["idle_until"])


def _pool(kept: list[Any], origin: int) -> Pool:
    process, number, entry = kept
    known = {name: entry.get("settings", {}).get(name) for name in PoolSettings.__dataclass_fields__}
    return Pool(
        process,
        number,
        str(entry.get("class", "?")),
        PoolSettings(**known),
        str(entry.get("engine") or ""),
        str(entry.get("url") or ""),
        bool(entry.get("async", True)),
        bool(entry.get("in_loop")),
        str(entry.get("logging_name") or ""),
        (entry["met_at"] - origin) / 1e9 if entry.get("met_at", 0) > origin > 0 else None,
    )


def _capture_info(kept: dict[str, Any], meta: dict[str, Any], leases: pd.DataFrame) -> CaptureInfo:
    """Return what capture did. What was lost at the very end leaves no gap: only who drained the ring counted it."""
    watched_s = float(leases["hold_time_s"].sum() + leases["acquire_time_s"].sum())
    enough = kept["sampled"] >= OVERHEAD_SAMPLES and watched_s > 0
    return CaptureInfo(
        events=kept["events"],
        dropped=max(kept["dropped"], int(meta.get("capture_dropped") or 0)),
        errors=kept["errors"],
        overhead=kept["overhead_ns"] / 1e9 / watched_s if enough else None,
        blind=kept["blind"],
        compiled=kept.get("compiled"),  # not in what an earlier version kept
    )


def _capture(events: int, lost: int, counters: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up what the processes' capture says of itself; lost records are counted from the gaps, too."""
    compiled = [bool(counter["compiled"]) for counter in counters if "compiled" in counter]
    return {
        "events": events,
        "dropped": max(lost, sum(int(counter.get("dropped", 0)) for counter in counters)),
        "errors": sum(int(counter.get("errors", 0)) for counter in counters),
        "overhead_ns": sum(int(counter.get("overhead_ns", 0)) for counter in counters),
        "sampled": sum(int(counter.get("sampled", 0)) for counter in counters),
        "compiled": all(compiled) if compiled else None,
        "blind": list(dict.fromkeys(line for counter in counters for line in counter.get("blind", []))),
    }
