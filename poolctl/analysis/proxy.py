"""Proxy: what the pooler between the application and the server did during the run.

In: a View with samples of a PgBouncer's console and lines of its log. Out: who waited in it, what it closed, when it
was restarted. Judges nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from poolctl.analysis.sweep import Floats
from poolctl.analysis.view import View

NEAR_S = 1.0
"""A connection that was lost so shortly after the proxy closed one, or before it said so, was lost to the proxy."""

CLIENT_S_OWN = ("client close request", "client unexpected eof", "client disconnect", "disconnect", "unexpected eof")
"""Reasons of a client's end that are the client's: it went by itself."""
QUEUE = ("query_wait_timeout",)
"""Reasons that mean: it waited in the proxy for too long."""
FULL = ("no more connections allowed",)
"""Reasons that mean: the proxy takes no more clients."""


@dataclass(frozen=True, slots=True)
class Queue:
    """One of the proxy's pools (a database and a user) over the run."""

    database: str
    user: str
    pool_size: int | None
    samples: int
    waited: int
    """Samples in which a client waited."""
    longest_s: float
    """Longest wait of the oldest waiter."""
    waiting: int
    """Most clients waiting at once."""
    clients: int
    """Most clients at once, waiting or served: what the application wanted at once."""
    servers: int
    """Most server connections in use while a client waited."""

    @property
    def share(self) -> float:
        """Share of the samples in which a client waited."""
        return self.waited / self.samples if self.samples else 0.0

    @property
    def full(self) -> bool:
        """Whether it used all the server connections it may have while clients waited."""
        return self.pool_size is None or self.servers >= self.pool_size


class Proxy:
    """The proxy's side of a run."""

    def __init__(self, view: View) -> None:
        self._view = view

    @property
    def name(self) -> str:
        """Its name."""
        proxy = self._view.target.proxy
        return proxy.name if proxy is not None else "PgBouncer"

    def queues(self) -> list[Queue]:
        """Return the proxy's pools, the one in which was waited most first."""
        seen: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for _, sample in self._within(self._view.proxy_samples):
            for pool in sample.get("pools") or ():
                seen[str(pool["database"]), str(pool["user"])].append(pool)
        made = [self._queue(key, pools) for key, pools in seen.items()]
        return sorted(made, key=lambda queue: (-queue.share, -queue.longest_s))

    def _queue(self, key: tuple[str, str], pools: list[dict[str, Any]]) -> Queue:
        waiting = [pool for pool in pools if pool["cl_waiting"]]
        proxy = self._view.target.proxy
        sizes = [pool["pool_size"] for pool in pools if pool.get("pool_size")]
        return Queue(
            *key,
            pool_size=sizes[-1] if sizes else proxy.default_pool_size if proxy else None,
            samples=len(pools),
            waited=len(waiting),
            longest_s=max((float(pool["maxwait_s"]) for pool in pools), default=0.0),
            waiting=max((int(pool["cl_waiting"]) for pool in pools), default=0),
            clients=max((int(pool["cl_waiting"]) + int(pool["cl_active"]) for pool in pools), default=0),
            servers=max((int(pool["sv_active"]) + int(pool["sv_login"]) for pool in waiting), default=0),
        )

    @cached_property
    def log(self) -> list[tuple[float, dict[str, Any]]]:
        """The log's events with their seconds of the run."""
        return [(at, line) for at, line in self._seconds(self._view.proxy_log) if "what" in line]

    def closed(self) -> list[tuple[float, str]]:
        """Return (second, reason) of the clients that the proxy closed of its own will; not for queueing and limits."""
        return [
            (at, line["reason"])
            for at, line in self.log
            if line["what"] == "closed"
            and line.get("side") == "C"
            and not str(line["reason"]).startswith((*CLIENT_S_OWN, *QUEUE, *FULL))
        ]

    def refused(self, reasons: Iterable[str]) -> list[float]:
        """Return the seconds at which clients were closed for one of these reasons."""
        wanted = tuple(reasons)
        return [
            at
            for at, line in self.log
            if line["what"] == "closed" and line.get("side") == "C" and str(line["reason"]).startswith(wanted)
        ]

    def server_side(self) -> Counter[str]:
        """Return why it closed its own connections to the server: the application does not see these."""
        return Counter(
            str(line["reason"]) for _, line in self.log if line["what"] == "closed" and line.get("side") == "S"
        )

    def restarts(self) -> list[float]:
        """Return the seconds at which it stopped, was gone, or had begun to count anew."""
        found = [at for at, line in self.log if line["what"] == "stopped"]
        found += [at for at, line in self.log if line["what"] == "started" and not _near(at, found, 5.0)]
        before: dict[str, Any] | None = None
        for at, sample in self._seconds(self._view.proxy_samples):
            anew = before is not None and _total(sample) < _total(before)
            if ("gone" in sample or anew) and at >= 0 and not _near(at, found, 5.0):
                found.append(at)
            before = sample if "stats" in sample else before
        return sorted(found)

    def lost(self) -> Floats:
        """Return the seconds at which the application lost connections it held, or could not open one."""
        ends = self._view.column("ended_at_s")[self._view.ended("invalidated", "failed")]
        return np.sort(ends[~np.isnan(ends)])

    def matched(self, instants: Iterable[float]) -> int:
        """Return how many of the lost connections were lost near one of these seconds."""
        drops = np.sort(np.array(list(instants), np.float64))
        lost = self.lost()
        if not len(drops) or not len(lost):
            return 0
        after = np.searchsorted(drops, lost + NEAR_S, side="right")
        before = np.searchsorted(drops, lost - NEAR_S, side="left")
        return int((after > before).sum())

    def _within(self, lines: list[dict[str, Any]]) -> list[tuple[float, dict[str, Any]]]:
        return [
            (at, line) for at, line in self._seconds(lines) if 0 <= at <= self._view.length_s and "gone" not in line
        ]

    def _seconds(self, lines: list[dict[str, Any]]) -> list[tuple[float, dict[str, Any]]]:
        return [(self._view.second_of(int(line["at_ns"])), line) for line in lines if "at_ns" in line]


def _near(at: float, others: Iterable[float], within: float) -> bool:
    return any(abs(at - other) <= within for other in others)


def _total(sample: dict[str, Any]) -> int:
    return sum(int(each.get("total_query_count") or 0) for each in (sample.get("stats") or {}).values())
