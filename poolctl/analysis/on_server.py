"""On the server: what it saw of the watched connections: how many waited for a lock, for whom, and what ran.

In: a View with samples of the server. Out: a share; the heads of the queues with the line that holds; a statement.
Where none of the server's sessions is known to be ours (a pooler in between), all of them count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from poolctl.analysis.sessions import Sessions
from poolctl.analysis.view import View


@dataclass(frozen=True, slots=True)
class Head:
    """Who kept others waiting for a lock."""

    share: float
    """Of the sightings of sessions that waited."""
    site: str | None
    """The line that held the connection; None: none of the watched processes' connections."""
    backend_pid: int
    query: str
    """Its last statement, without literals; empty: not to be seen."""


def lock_share(view: View) -> float | None:
    """Return the share of the busy sessions that waited for a lock; None where the server was not watched, or idle."""
    seen = Sessions(view)
    active = locks = 0
    for _, sample in seen.within:
        mine = _ours(seen, sample)
        if mine is None:
            active += int(sample.get("active") or 0)
            locks += int(sample.get("lock_waits") or 0)
        else:
            active += sum(backend.get("state") == "active" for backend in mine)
            locks += sum(str(backend.get("wait") or "").lower().startswith("lock") for backend in mine)
    return locks / active if active else None


def _ours(seen: Sessions, sample: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the backends of a sample that are the pools'; None where they cannot be told from others."""
    backends = seen.backends(sample)
    if not backends or not seen.known or seen.behind_proxy:
        return None
    return [backend for pid, backend in backends.items() if pid in seen.known]


def heads(view: View) -> list[Head]:
    """Return who was at the head of the queues that our sessions stood in, the one most waited for first."""
    seen = Sessions(view)
    blocked = [each for each in seen.blocked() if seen.ours(each)]
    names = [seen.site_of(each.root, each.at_s) for each in blocked]
    found = Counter((name, 0 if name else each.root) for name, each in zip(names, blocked, strict=True))
    last = {(name, 0 if name else each.root): each for name, each in zip(names, blocked, strict=True)}
    return [
        Head(count / len(blocked), key[0], last[key].root, str((last[key].holder or {}).get("query") or ""))
        for key, count in found.most_common()
    ]


def running(view: View, site: str) -> str:
    """Return the statement that the server saw most often at work for this site; empty: it saw none."""
    seen = Sessions(view)
    found = Counter(
        str(backend.get("query") or "")
        for at_s, sample in seen.within
        for pid, backend in seen.backends(sample).items()
        if backend.get("state") == "active" and seen.site_of(pid, at_s) == site
    )
    found.pop("", None)
    return found.most_common(1)[0][0] if found else ""


SIGHTINGS = 5
"""Of held connections, from which the share of those at work says something."""


def unheard_share(view: View, sql_share: float | None) -> float | None:
    """Return the share of what the processes took for SQL during which the server had nothing to do for them.

    An answer that is there and not read: nobody has the time to. None where the server was not watched, or too seldom.
    """
    seen = Sessions(view)
    held = [
        str(backend.get("state") or "")
        for at_s, sample in seen.within
        for pid, backend in seen.backends(sample).items()
        if seen.lease_of(pid, at_s) is not None
    ]
    if len(held) < SIGHTINGS or not sql_share:
        return None
    at_work = sum(state == "active" for state in held) / len(held)
    return max(0.0, 1.0 - at_work / sql_share)
