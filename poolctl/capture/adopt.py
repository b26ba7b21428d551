"""Adopt: what was going on before capture began. Connections that somebody holds become leases, open since before.

In: the hooks, just put in place in a process that runs. Out: a lease for each connection that is out now, at a site
that says what is known of it: nothing but that it was held already. Its hold is at least as long as capture runs.
Finds them where SQLAlchemy keeps track of them, never by looking through all objects.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from typing import Any

from poolctl.capture.state import Lease, blank
from poolctl.capture.watch import Watch
from poolctl.clock import monotonic_ns
from poolctl.trace.events import Flag, Kind

SITE = ("(before capture)", 0, "held since before capture began")
"""The site of an adopted lease."""


def adopt(watch: Watch) -> int:
    """Take in every connection that is out; return how many. Errors are counted, and cost one connection each."""
    taken = 0
    for record, fairy, pool in _held():
        try:
            if id(fairy) not in watch.leases and not watch.pool(pool).shared:
                taken += _take(watch, record, fairy, pool)
        except Exception:
            watch.recorder.count_error()
    return taken


def _take(watch: Watch, record: Any, fairy: Any, pool: Any) -> bool:
    state, recorder = watch.pool(pool), watch.recorder
    if not state.watched:
        return False
    now = monotonic_ns()
    connection = watch.connections.get(id(record.dbapi_connection)) or watch.found(record, state)
    lease = blank()
    watch.numbers = lease.number = watch.numbers + 1
    lease.pool, lease.connection = state, connection
    lease.site = recorder.site_of(SITE)
    lease.requested_at = lease.started_at = lease.control_at = now
    _tell(watch, lease, now)
    watch.guard(lease, fairy)
    watch.leases[id(fairy)] = lease
    gone = fairy._connection_record is not record or record.fairy_ref is None or record.fairy_ref() is not fairy
    if gone and watch.leases.pop(id(fairy), None) is lease:  # it went back while we looked, before the lease was there
        lease.closing_at = monotonic_ns()
        watch.end(lease, lease.closing_at)
    return True


def retell(watch: Watch) -> None:
    """Tell a reader who came late of every connection that is out, with the site that took it."""
    for lease in list(watch.leases.values()):
        try:
            _tell(watch, lease, min(lease.started_at, lease.control_at))
        except Exception:
            watch.recorder.count_error()


def _tell(watch: Watch, lease: Lease, at: int) -> None:
    write, pool, site, connection = watch.recorder.ring.write, lease.pool.number, lease.site, lease.connection
    write(Kind.REQUEST, at, lease.number, int(Flag.UNSEEN), pool, site, 0, 0, 0, 0, 0, 0, 0)
    write(Kind.CHECKOUT, at, lease.number, 0, pool, site, 0, 0, 0, connection.number, connection.backend_pid)


def _held() -> Iterator[tuple[Any, Any, Any]]:
    """Yield (record, proxy, pool) of every connection that is out."""
    base = sys.modules["sqlalchemy.pool.base"]
    records: list[Any] = []
    tracked = getattr(base, "_strong_ref_connection_records", None)  # SQLAlchemy 2.0
    if tracked is not None:
        records = list(_copy(tracked).values())
    else:  # 2.1: each proxy has a finalizer
        for info in _copy(getattr(weakref.finalize, "_registry", {})).values():
            if getattr(info.func, "__name__", "") == "_finalize_fairy" and len(info.args) > 1:
                records.append(info.args[1])
    for record in records:
        fairy = record.fairy_ref() if record is not None and record.fairy_ref is not None else None
        if fairy is not None and record.dbapi_connection is not None:
            yield record, fairy, record._ConnectionRecord__pool


def _copy(table: dict[Any, Any]) -> dict[Any, Any]:
    """Copy a dictionary that other threads change."""
    for _ in range(10):
        try:
            return dict(table)
        except RuntimeError:  # it changed meanwhile
            continue
    return {}
