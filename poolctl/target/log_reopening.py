"""Log reopening: connections that are opened anew for a request that is under way.

In: who found a connection dead or too old, and when. Out: for whom the next connection is opened. "Created new
connection" names neither the old connection nor the request: the thread or task does, else the order.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from poolctl.target.log_leases import Lease
from poolctl.target.log_messages import What

MOST = 256
"""Requests that are remembered in one process; more than that never got their connection, and nobody said so."""


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A request whose connection is being opened anew."""

    who: int
    at: int
    lease: Lease | None
    """None: an idle connection is recycled, and the checkout comes later."""


class Reopening:
    """Every request whose connection is being opened anew, by process."""

    def __init__(self) -> None:
        self._pending: defaultdict[int, list[Pending]] = defaultdict(list)
        self._dead: defaultdict[int, list[tuple[int, What]]] = defaultdict(list)

    def add(self, process: int, pending: Pending) -> Lease | None:
        """Remember a request; returns the lease of one that is given up for it."""
        waiting = self._pending[process]
        waiting.append(pending)
        return waiting.pop(0).lease if len(waiting) > MOST else None

    def take(self, process: int, who: int) -> Pending | None:
        """Return the request for which a connection was opened, or could not be; None: a new one."""
        theirs = [one for one in self._pending[process] if one.who == who]
        if not theirs or (not who and theirs[0].lease is None and len(theirs) > 1):
            return None  # several are being opened, and nobody says by whom: then a connect has no length
        self._pending[process].remove(theirs[0])
        return theirs[0]

    def tell_dead(self, process: int, who: int, what: What) -> None:
        """Somebody's connection was found dead: the next one that they invalidate."""
        self._dead[process] = [*self._dead[process][-MOST:], (who, what)]

    def take_dead(self, process: int, who: int) -> What | None:
        """Return how the connection that `who` invalidates was found dead on checkout; None: it was not."""
        for one in self._dead[process]:
            if one[0] == who:
                self._dead[process].remove(one)
                return one[1]
        return None

    def rest(self) -> list[Lease]:
        """The leases that still wait for their new connection."""
        return [one.lease for waiting in self._pending.values() for one in waiting if one.lease is not None]
