"""Sessions: what the server said of its backends during the run, matched with the leases that held them.

In: a View with samples of the server. Out: instants on the run's clock, the lease of a backend at an instant, who
blocks whom, when the server was gone or came up anew. Judges nothing. Behind a pooler no backend is matched: it lends
them for each transaction, and the driver knows an identity of the pooler's making.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from poolctl.analysis.sweep import Floats, Ints
from poolctl.analysis.view import View

SLACK_S = 0.05
"""A sample takes a moment: a lease that began or ended so shortly before may be the one that it shows."""
UPTIME_SLACK_S = 2.5
"""MySQL tells its uptime in whole seconds."""

Sample = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Blocked:
    """One session that waits for a lock, in one sample."""

    at_s: float
    backend: dict[str, Any]
    root: int
    """The session at the head of the queue."""
    holder: dict[str, Any] | None
    """What the sample says of the root; None: not to be seen."""

    @property
    def waited_s(self) -> float:
        """For how long it has waited; where the server does not tell, since its statement began."""
        told = self.backend.get("lock_wait_s")
        return float(told if told is not None else self.backend.get("state_s") or 0.0)


@dataclass(frozen=True, slots=True)
class Break:
    """The server was gone, or is another one."""

    at_s: float
    says: str


class Sessions:
    """The server's side of a run."""

    def __init__(self, view: View) -> None:
        self._view = view

    @cached_property
    def samples(self) -> list[tuple[float, Sample]]:
        """The samples with their seconds of the run, in order; those from before it have negative ones."""
        lines = [line for line in self._view.server_samples if "gone" not in line and "at_ns" in line]
        return [(self.second(line), line) for line in lines]

    @cached_property
    def within(self) -> list[tuple[float, Sample]]:
        """The samples of the run itself."""
        return [(at, sample) for at, sample in self.samples if 0 <= at <= self._view.length_s]

    @cached_property
    def behind_proxy(self) -> bool:
        """Whether a pooler stands between: its backends cannot be matched with leases."""
        return self._view.target.proxy is not None

    def second(self, line: Sample) -> float:
        """Return the second of the run at which a line was written."""
        return self._view.second_of(int(line["at_ns"]))

    def backends(self, sample: Sample) -> dict[int, dict[str, Any]]:
        """Return the sessions of a sample by their backend pid."""
        return {int(backend["pid"]): backend for backend in sample.get("backends") or ()}

    @cached_property
    def _held(self) -> dict[int, tuple[Floats, Floats, Ints]]:
        """Backend pid -> starts and ends of its leases, and their rows, in the order of the starts."""
        pids = self._view.whole("backend_pid")
        starts, ends = self._view.held
        rows = np.flatnonzero((pids > 0) & ~np.isnan(starts))
        rows = rows[np.lexsort((starts[rows], pids[rows]))]
        cuts = np.flatnonzero(np.diff(pids[rows])) + 1
        return {
            int(pids[part[0]]): (starts[part], np.where(np.isnan(ends[part]), np.inf, ends[part]), part)
            for part in np.split(rows, cuts)
            if len(part)
        }

    def lease_of(self, pid: int, at_s: float) -> int | None:
        """Return the lease (its place in the order of the requests) that held a backend at this second."""
        if self.behind_proxy or pid not in self._held:
            return None
        starts, ends, rows = self._held[pid]
        place = int(np.searchsorted(starts, at_s + SLACK_S, side="right")) - 1
        return int(rows[place]) if place >= 0 and at_s <= ends[place] + SLACK_S else None

    def site_of(self, pid: int, at_s: float) -> str | None:
        """Return the site of that lease; None: nobody of ours held it, or its line is unknown."""
        lease = self.lease_of(pid, at_s)
        codes, names = self._view.codes("site")
        return names[codes[lease]] if lease is not None and codes[lease] >= 0 else None

    @cached_property
    def known(self) -> frozenset[int]:
        """The backends that were ever the pools'."""
        opened = self._view.tables.connections["backend_pid"]
        return frozenset(self._held) | frozenset(int(pid) for pid in opened[opened > 0])

    def blocked(self) -> Iterator[Blocked]:
        """Yield every session seen waiting for a lock, with who is at the head of its queue."""
        for at_s, sample in self.within:
            backends = self.backends(sample)
            for pid, backend in backends.items():
                if not str(backend.get("wait", "")).startswith("Lock") or not backend.get("blocked_by"):
                    continue
                root, passed = pid, {pid}
                while (next_up := (backends.get(root) or {}).get("blocked_by")) and next_up[0] not in passed:
                    root = int(next_up[0])
                    passed.add(root)
                yield Blocked(at_s, backend, root, backends.get(root))

    def ours(self, each: Blocked) -> bool:
        """Whether a session that waits is one of the pools'; all count where they cannot be told apart."""
        return self.behind_proxy or not self.known or int(each.backend["pid"]) in self.known

    def breaks(self) -> list[Break]:
        """Return when, in the run, the server was gone, restarted, dropped everybody, or changed its role, in order."""
        found = [each for each in (*self._gaps(), *self._changes()) if 0 <= each.at_s <= self._view.length_s]
        return sorted(found, key=lambda each: each.at_s)

    def _gaps(self) -> Iterator[Break]:
        gone: list[float] = []
        for line in self._view.server_samples:
            if "gone" in line:
                gone.append(self.second(line))
            elif gone:
                yield Break(gone[0], f"it could not be reached until second {self.second(line):.1f}")
                gone = []
        if gone:
            yield Break(gone[0], "it could not be reached any more")

    def _changes(self) -> Iterator[Break]:
        for (before_s, before), (at_s, now) in zip(self.samples, self.samples[1:], strict=False):
            up, was_up = now.get("uptime_s"), before.get("uptime_s")
            if up is not None and was_up is not None and was_up + (at_s - before_s) - up > UPTIME_SLACK_S:
                yield Break(at_s - up, "it was restarted: its uptime begins there")
            elif now.get("connects", 1) > before.get("connects", 1) and self._all_new(before, now, at_s - before_s):
                yield Break(
                    at_s, "it dropped every session, poolctl's too, and takes new ones: it recovered from a crash"
                )
            if None not in (now.get("replica"), before.get("replica")) and now["replica"] != before["replica"]:
                role = "takes no writes any more" if now["replica"] else "takes writes now"
                yield Break(at_s, f"it {role}: a failover, or a switch to read-only")

    def _all_new(self, before: Sample, now: Sample, passed_s: float) -> bool:
        """Whether no session of the sample before is left: all are younger than the time that passed."""
        old = self.backends(before)
        return bool(old) and not any(
            pid in old and not (backend.get("age_s") is not None and backend["age_s"] < passed_s)
            for pid, backend in self.backends(now).items()
        )
