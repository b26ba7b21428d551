"""Connections: what becomes of the driver's connections, from the opening to the close.

In: what `connection_hooks` saw. Out: CONNECT, CLOSE and INVALIDATE records, the count of open connections, and the
times that a request spent on opening and testing. The half of `Watch` that is about connections, not leases.
"""

from __future__ import annotations

import weakref
from typing import Any

from poolctl.capture import facts
from poolctl.capture.core import Core
from poolctl.capture.recorder import Recorder
from poolctl.capture.state import ConnectionState, Lease, PoolState, Spent
from poolctl.clock import monotonic_ns
from poolctl.trace.events import Flag, Kind

WAIT_WORTH_NS = 20_000
"""A shorter stay in the queue was none: that is what taking an idle connection costs."""
_STASHED = 1024
"""Times kept for requests that never came back for them, at most."""


class Connections(Core):
    """The driver's connections, and the notes by which a request finds what it spent on them."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._last_closed = (0, 0, 0)

    def spend(self, key: int, since: int) -> Spent:
        """Return the times noted under the id of a record or an exception since then."""
        spent = self.spent.get(key)
        if spent is None or spent.at < since:
            if len(self.spent) >= _STASHED:
                self.spent.clear()
            spent = self.spent[key] = Spent(monotonic_ns())
        return spent

    def connected(
        self, record: Any, state: PoolState, started_at: int, inside: bool, error: BaseException | None
    ) -> None:
        """A connection was opened, or could not be; `inside`: a new one, within `_do_get`."""
        now = monotonic_ns()
        took = now - started_at
        key = id(record)
        note = self.spent.pop(key, None)
        if note is None or inside:
            note = Spent(started_at)
        note.connect += took
        note.inside = took if inside else note.inside
        record_closed, closing_at, closing = self._last_closed
        if record_closed == key and not inside:
            note.closing_at, note.closing = closing_at, closing
        number = pid = why = 0
        if error is None:
            self.spent[key] = note
            number = self.recorder.connection_number() & 0xFFFFFFFF
            pid = self._backend_pid(record)
            connection = ConnectionState(number, state, pid, key)
            self.connections[id(record.dbapi_connection)] = connection
            self.tie(connection, record, id(record.dbapi_connection))
            state.open += 1
        else:
            self.spent[id(error)] = note
            why = self.recorder.error(error)
        if len(self.spent) >= _STASHED:
            self.spent.clear()
        note.opened.append((now, took, number | pid << 32, why | max(0, state.open) << 32))
        if inside:
            note.inside += monotonic_ns() - now  # what this took is no wait either

    def found(self, record: Any, state: PoolState) -> ConnectionState:
        """Make a connection known that was opened before capture began, and return what is known of it."""
        number = self.recorder.connection_number() & 0xFFFFFFFF
        connection = ConnectionState(number, state, self._backend_pid(record), id(record))
        connection.used = True
        key = id(record.dbapi_connection)
        self.connections[key] = connection
        self.tie(connection, record, key)
        return connection

    def settle(self, lease: Lease, key: int) -> tuple[int, int, int]:
        """Return wait, connect and ping of a request, as noted under `key`, and write its CONNECT records."""
        note = self.spent.pop(key, None)
        if note is None or note.at < lease.requested_at:
            return 0, 0, 0  # nothing was, or it was left behind by an accident: nobody's
        self.opened(note, lease)
        wait = note.wait - note.inside
        replaced = note.closing if note.closing_at >= max(lease.requested_at, note.got_at) else 0
        return wait if wait >= WAIT_WORTH_NS else 0, note.connect + replaced, note.ping

    def opened(self, note: Spent, lease: Lease) -> None:
        """Now that it is known for which request: write the CONNECT records."""
        for at, took, which, open_ in note.opened:
            flags = 0 if which else int(Flag.ERROR) << 8
            self.ring.words(at, lease.number, lease.meta | flags | Kind.CONNECT, took, 0, which, open_)

    def pinged(self, dbapi_connection: Any, started_at: int, error: BaseException | None) -> None:
        """A connection was tested before a checkout."""
        now = monotonic_ns()
        connection = self.connections.get(id(dbapi_connection))
        if connection is not None:
            note = self.spent.get(connection.record)
            if note is None:
                note = self.spent[connection.record] = Spent(started_at)
            note.ping += now - started_at
            if error is not None:
                self.spent[id(error)] = note

    def closed(self, key: int, started_at: int) -> None:
        """The driver's connection with id `key` was closed."""
        now = monotonic_ns()
        connection = self.connections.pop(key, None)
        if connection is None:
            return
        connection.ref = None
        state = connection.pool
        state.open -= 1
        self._last_closed = (connection.record, started_at, now - started_at)
        self.ring.words(
            now, 0, state.meta | Kind.CLOSE, now - started_at, 0, connection.number | max(0, state.open) << 32, 0
        )

    def tie(self, connection: ConnectionState, owner: Any, key: int) -> None:
        """The connection lives as long as `owner`: when that is collected, nobody can close it any more."""

        def dropped(_: Any) -> None:
            try:
                if self.connections.get(key) is connection:
                    self.closed(key, monotonic_ns())
            except Exception:
                self.recorder.count_error()

        connection.ref = weakref.ref(owner, dropped)

    def invalidated(self, record: Any, error: BaseException | None) -> None:
        """A record's connection is about to be invalidated; lease 0 when nobody holds it."""
        lease = self.lease_of(record)
        connection = self.connections.get(id(record.dbapi_connection))
        if lease is not None:
            lease.unfold()
            lease.flags |= int(Flag.INVALIDATED)
        meta = lease.meta if lease is not None else connection.pool.meta if connection is not None else 0
        why = 0 if error is None else self.recorder.error(error)
        self.ring.words(
            monotonic_ns(),
            lease.number if lease is not None else 0,
            meta | Kind.INVALIDATE,
            0,
            0,
            (connection.number if connection is not None else 0) | why << 32,
            0,
        )

    def lease_of(self, record: Any) -> Lease | None:
        """Return the lease that holds a record. Slow where the proxy is gone already."""
        fairy = record.fairy_ref() if record.fairy_ref is not None else None
        if fairy is not None:
            return self.leases.get(id(fairy))
        if id(record) in self.returning:
            return self.returning[id(record)]
        return next((lease for lease in list(self.leases.values()) if lease.record == id(record)), None)

    def inherited(self, connection: ConnectionState) -> None:
        """A connection that the parent opened is used in the child: both now talk to one server session."""
        connection.inherited = False
        entry = {"kind": "inherited", "n": connection.number, "backend_pid": connection.backend_pid}
        self.recorder.note(entry)

    def _backend_pid(self, record: Any) -> int:
        try:
            return facts.backend_pid(record._ConnectionRecord__pool, record.dbapi_connection)
        except Exception:  # a driver that was never heard of
            return 0
