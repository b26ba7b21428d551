"""Tracker: which leases are open, who asked for them, and who asked while holding one.

In: raw records, in pieces, each with the owner (a test, a fixture) that ran meanwhile. Out: leases. Standard library
only. Knows nothing of pytest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from poolctl.trace.events import LAYOUTS, RECORD_BYTES, Flag, Kind

ENDS = (Kind.CHECKIN, Kind.DETACH, Kind.REFUSED)


@dataclass
class Held:
    """A lease."""

    owner: str
    site: int
    pool: int
    task: int
    got: bool = False
    """It has its connection."""
    inside: int = 0
    """Site of the lease that its task held when it asked; 0: none."""
    abandoned: bool = False
    told: bool = False
    """Somebody was told of it."""


class Tracker:
    """The leases of a process."""

    def __init__(self) -> None:
        self.open: dict[int, Held] = {}
        self.total = 0
        self._fresh: list[Held] = []

    def feed(self, raw: bytes | memoryview, owner: str) -> list[Held]:
        """Take records; return the leases that were requested or ended in them, for whoever checks the owner."""
        self._fresh = []
        for _, kind, flags, lease, pool, site, payload in sorted(_records(raw), key=lambda record: record[0]):
            if kind is Kind.REQUEST and not flags & Flag.UNSEEN:
                self._request(lease, owner, site, pool, payload[1])
            elif kind is Kind.CHECKOUT and lease in self.open:
                self.open[lease].got = True
            elif kind in ENDS and lease in self.open:
                held = self.open.pop(lease)
                held.abandoned = bool(flags & Flag.ABANDONED)
                self._fresh.append(held)
        return list({id(held): held for held in self._fresh}.values())

    def _request(self, lease: int, owner: str, site: int, pool: int, task: int) -> None:
        holder = next(
            (held for held in self.open.values() if held.task == task and held.pool == pool and held.got and task), None
        )
        held = Held(owner, site, pool, task, inside=holder.site if holder else 0)
        self.open[lease] = held
        self.total += 1
        self._fresh.append(held)

    def of(self, owner: str) -> list[Held]:
        """Return the leases of an owner that still hold their connection."""
        return [held for held in self.open.values() if held.owner == owner and held.got]


def _records(raw: bytes | memoryview) -> Iterable[tuple[int, Kind, int, int, int, int, tuple[int, ...]]]:
    view = memoryview(raw)
    for start in range(0, len(view) - RECORD_BYTES + 1, RECORD_BYTES):
        try:
            kind = Kind(view[start + 24])
        except ValueError:
            continue
        _, at, lease, _, flags, pool, site, *payload = LAYOUTS[kind].unpack(view[start : start + RECORD_BYTES])
        yield at, kind, flags, lease, pool, site, tuple(payload)
