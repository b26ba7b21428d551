"""View: a run as the judges see it, each fact computed once, when it is first asked for.

In: the tables of a run, its settings, the policy, what is known of the server. Out: arrays in the order of the requests
and step functions over time. Rules, validity checks and the verdict read it; it judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poolctl.analysis import lifetimes, sweep
from poolctl.analysis.leases import Pool, Tables
from poolctl.analysis.objectives import Objective
from poolctl.analysis.sweep import Floats, Ints, Steps
from poolctl.policy import Policy
from poolctl.trace.report import PoolSettings, SiteRow, TargetInfo

Bools = npt.NDArray[np.bool_]

WAITED_S = 1e-3
"""Below this, a wait is the pool's own work and the scheduler's, not a queue."""
MOST_POOLS = 200
"""With more of them (an engine per request) nobody asks which of them has how many connections open."""
LEAK_TIMES = 3.0
"""An open lease is leaked when it is older than so many times the longest finished hold of its site …"""
LEAK_FLOOR_S = 5.0
"""… and older than this."""


@dataclass
class View:
    """A run, to be judged."""

    tables: Tables
    target: TargetInfo
    policy: Policy = field(default_factory=Policy)
    server_samples: list[dict[str, Any]] = field(default_factory=list)
    """Lines of server.jsonl, as `target.probing` makes them."""
    proxy_samples: list[dict[str, Any]] = field(default_factory=list)
    """Lines of proxy.jsonl, as `target.pgbouncer` makes them."""
    proxy_log: list[dict[str, Any]] = field(default_factory=list)
    """Lines of proxy-log.jsonl, as `target.pgbouncer_log` makes them."""
    objectives: Sequence[Objective] = ()
    """What the run is held to."""
    process_samples: list[dict[str, Any]] = field(default_factory=list)
    machine_samples: list[dict[str, Any]] = field(default_factory=list)
    """Lines of processes.jsonl, as `target.processes` makes them."""

    def column(self, name: str) -> Floats:
        """Return a time or an instant of every lease, in the order of the requests."""
        values: Floats = self.tables.leases[name].to_numpy(dtype=np.float64)
        return values if self._in_order else values[self.order]

    def whole(self, name: str) -> Ints:
        """Return a whole number of every lease, in the order of the requests."""
        values: Ints = self.tables.leases[name].to_numpy(dtype=np.int64)
        return values if self._in_order else values[self.order]

    def codes(self, name: str) -> tuple[Ints, list[str]]:
        """Return a text of every lease as numbers, in the order of the requests, and what they stand for; -1: none."""
        categories = self.tables.leases[name].cat
        values = categories.codes.to_numpy().astype(np.int64)
        return (values if self._in_order else values[self.order]), [str(text) for text in categories.categories]

    def ended(self, *ends: str) -> Bools:
        """Return which leases met one of these ends."""
        values, names = self.codes("end")
        found: Bools = np.isin(values, [names.index(end) for end in ends if end in names])
        return found

    @cached_property
    def untold(self) -> frozenset[str]:
        """What the source of this run cannot tell (`untold` of run.json): none seen means nothing there."""
        return frozenset(str(name) for name in self.tables.meta.get("untold") or ())

    @cached_property
    def order(self) -> Ints:
        """The rows of the lease table in the order of the requests."""
        return np.argsort(self.tables.leases["requested_at_s"].to_numpy(), kind="stable")

    @cached_property
    def _in_order(self) -> bool:
        return bool((self.order[1:] > self.order[:-1]).all())

    @cached_property
    def length_s(self) -> float:
        """The window that is judged: from second 0 to here."""
        return max(self.tables.length_s, 1e-9)

    @cached_property
    def acquired(self) -> Bools:
        """Which leases got their connection."""
        return ~np.isnan(self.column("acquired_at_s"))

    @cached_property
    def open(self) -> Bools:
        """Which leases hold a connection to this hour."""
        return self.ended("open") & self.acquired

    @cached_property
    def held(self) -> tuple[Floats, Floats]:
        """Start and end of every hold; NaN, NaN: none. An open one ends with NaN; a lost end leaves no length."""
        starts, ends = self.column("acquired_at_s"), self.column("ended_at_s").copy()
        ends[~self.acquired] = np.nan
        lost = np.isnan(ends) & ~self.open
        ends[lost] = starts[lost]
        return starts, ends

    @cached_property
    def queued(self) -> tuple[Floats, Floats]:
        """Start and end of every wait; NaN, NaN: none. One that still waited when the record stopped ends with NaN."""
        starts, waits = self.column("requested_at_s").copy(), self.column("wait_time_s")
        still = self.ended("open") & ~self.acquired
        starts[~(waits >= WAITED_S) & ~still] = np.nan
        return starts, np.where(still, np.nan, starts + waits)

    @cached_property
    def checked_out(self) -> Steps:
        """Connections held, all pools together."""
        return sweep.count(*self.held)

    @cached_property
    def waiting(self) -> Steps:
        """Requests in the queue, all pools together."""
        return sweep.count(*self.queued)

    @cached_property
    def pool_keys(self) -> tuple[Ints, list[tuple[int, str]]]:
        """The pool of every lease as numbers, and (process, engine) of each: `Engine.dispose()` makes no new pool."""
        engines = {(pool.process, pool.number): pool.engine or str(pool.number) for pool in self.tables.pools}
        pairs = self.whole("process") << 16 | self.whole("pool")
        distinct, where = np.unique(pairs, return_inverse=True)
        named = [(int(pair >> 16), engines.get((int(pair >> 16), int(pair & 0xFFFF)), "?")) for pair in distinct]
        keys = list(dict.fromkeys(named))
        place = {name: number for number, name in enumerate(keys)}
        table = np.array([place[name] for name in named], np.int64)
        return (table[where] if len(table) else np.empty(0, np.int64)), keys

    @cached_property
    def pools(self) -> list[Pool]:
        """The pools that were asked, once each, with the settings they had last."""
        known = {(pool.process, pool.engine or str(pool.number)): pool for pool in self.tables.pools}
        return [known[key] for key in self.pool_keys[1] if key in known]

    @cached_property
    def settings(self) -> PoolSettings:
        """The settings of the pool that was asked most, as it said itself; else what the run says of its target."""
        numbers, keys = self.pool_keys
        if len(numbers) and self.pools:
            busiest = keys[int(np.bincount(numbers).argmax())]
            for pool in self.pools:
                if (pool.process, pool.engine or str(pool.number)) == busiest:
                    return pool.settings
        return self.target.settings

    @cached_property
    def capacity(self) -> float | None:
        """How many connections may be held at once, all pools together; infinite: no limit; None: unknown."""
        from poolctl.analysis.engine_use import engines, thrown_away

        each = self.settings.capacity
        if each is None or any(thrown_away(group) for group in engines(self).values()):
            return None  # a pool per request: nothing limits how many there are
        return each * max(1, len(self.pool_keys[1]))

    @cached_property
    def overflow(self) -> Steps:
        """Connections open beyond pool_size, each pool clamped at 0, all together."""
        numbers, keys = self.pool_keys
        size = self.settings.pool_size
        if not size or not keys:
            return Steps(np.empty(0), np.empty(0, np.int64))
        starts, ends = self.held
        parts = []
        for number, key in enumerate(keys):
            mine = numbers == number
            opened = self.opened_by(key, seen=True) or sweep.count(starts[mine], ends[mine])
            parts.append(Steps(opened.at, np.maximum(opened.level - size, 0)))
        return sweep.total(parts)

    @cached_property
    def open_connections(self) -> Steps | None:
        """Connections open, held or idle, all pools together; None where the run does not tell."""
        parts = [self.opened_by(key) for key in self.pool_keys[1]]
        known = [part for part in parts if part is not None]
        return sweep.total(known) if known and len(known) == len(parts) else None

    def opened_by(self, key: tuple[int, str], *, seen: bool = False) -> Steps | None:
        """Return the connections that a pool has open; None where the run does not tell (`lifetimes.opened`)."""
        if len(self.pool_keys[1]) > MOST_POOLS:
            return None
        numbers = [pool.number for pool in self.tables.pools if (pool.process, pool.engine or str(pool.number)) == key]
        return lifetimes.opened(self.tables, key[0], numbers, seen=seen)

    @cached_property
    def sites(self) -> list[SiteRow]:
        """The site table (`breakdown.sites`), which several rules read."""
        from poolctl.analysis import breakdown

        return breakdown.sites(self)

    @cached_property
    def wait_caused_s(self) -> Floats:
        """Waiting of others while each lease held, in seconds, split evenly among the holders of its pool."""
        numbers, keys = self.pool_keys
        (starts, ends), (asked, got) = self.held, self.queued
        caused = np.zeros(len(numbers))
        for number in range(len(keys)):
            mine = numbers == number
            caused[mine] = sweep.share_of(sweep.count(asked[mine], got[mine]), starts[mine], ends[mine])
        return caused

    def second_of(self, monotonic_ns: int) -> float:
        """Return an instant of poolctl's clock as a second of the run."""
        anchor = self.tables.meta.get("anchor")
        return (monotonic_ns - int(anchor[0])) / 1e9 if anchor else 0.0

    @cached_property
    def nested(self) -> Bools:
        """Which requests were made by a task that held another connection of the same pool."""
        return self._nesting[0]

    @cached_property
    def _nesting(self) -> tuple[Bools, Bools]:
        from poolctl.analysis.nesting import nesting

        return nesting(self)

    @cached_property
    def leak_threshold_s(self) -> Floats:
        """For each lease how long it may stay open before it counts as leaked (unless its operation is over)."""
        from poolctl.analysis.leaking import leak_threshold_s

        return leak_threshold_s(self)

    @cached_property
    def outlived(self) -> Bools:
        """Which leases are open although the operation that made them is over: nobody can give them back."""
        from poolctl.analysis.leaking import outlived

        return outlived(self)

    @cached_property
    def leaked(self) -> Bools:
        """Which leases were never returned: abandoned to the garbage collector, outlived, or open too long.

        One whose task waits for another connection is not: it would be returned.
        """
        age = self.length_s - self.column("acquired_at_s")
        with np.errstate(invalid="ignore"):
            beyond = self.open & (age > self.leak_threshold_s)
        return self.ended("abandoned") | self.outlived | (beyond & ~self._nesting[1])

    @cached_property
    def timed_out(self) -> int:
        """Requests that pool_timeout refused."""
        return int(self.ended("timed_out").sum())

    @cached_property
    def opened(self) -> int:
        """Connections opened."""
        frame = self.tables.connections
        seen = int((frame["event"] == "opened").sum())
        return seen or int(self.tables.leases["fresh"].sum())


def looked_around(directory: Path) -> dict[str, Any]:
    """Return what a run directory holds of the server and the proxy, by the View's field names."""
    files = {
        "server_samples": "server.jsonl",
        "proxy_samples": "proxy.jsonl",
        "proxy_log": "proxy-log.jsonl",
        "process_samples": "processes.jsonl",
        "machine_samples": "machine.jsonl",
    }
    return {name: _read_lines(directory / file) for name, file in files.items()}


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file; nothing when there is none. Torn lines are left out."""
    samples = []
    if path.is_file():
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                samples.append(entry)
    return samples
