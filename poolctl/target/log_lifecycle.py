"""Log life cycle: from what `sqlalchemy.pool` said to leases. A state machine over the lines, never a subtraction.

In: `Entry` after `Entry`, in the order of the log. Out: leases and connections through a `Ledger`. A connection is its
address and a generation: addresses are used again, so "Created", "Closing", "Hard-closing" and an address that is
created anew begin another one. What the lines mean is FIELD.md section 6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from poolctl.target.log_echoes import MOST_CLOSED, Echoes, Place
from poolctl.target.log_formats import Entry
from poolctl.target.log_known import Connection, lease_of, pool_of, theirs
from poolctl.target.log_leases import ABANDONED, CANCELLED, ERROR, INVALIDATED, TIMED_OUT, Lease, Ledger
from poolctl.target.log_messages import What
from poolctl.target.log_records import LogPool, LogProcess
from poolctl.target.log_reopening import Pending, Reopening
from poolctl.trace.events import UNKNOWN, Kind

CANCELLATIONS = ("CancelledError", "GreenletExit", "GeneratorExit", "KeyboardInterrupt")


class Lifecycle:
    """What is known of every connection that the log speaks of."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.echoes = Echoes()
        self._known: dict[Place, Connection] = {}
        self._ending: deque[tuple[Place, Lease, int]] = deque()
        """Leases that were returned and whose connection was closed at once: perhaps by the garbage collector."""
        self._reopening = Reopening()
        self._handlers: dict[What, Callable[[Entry, LogProcess, int], None]] = {
            What.CREATED: self._created,
            What.CONNECT_FAILED: self._connect_failed,
            What.CHECKED_OUT: self._checked_out,
            What.RETURNING: self._returning,
            What.FRESH: self._fresh,
            What.PING: self._ping,
            What.PING_FAILED: self._found_dead,
            What.DISCONNECTED_ONE: self._found_dead,
            What.RESET: self._reset,
            What.CLOSING: self._closing,
            What.HARD_CLOSING: self._closing,
            What.INVALIDATE: self._invalidate,
            What.RECYCLE: self._recycle,
            What.DISCONNECTED: self._dead_somewhere,
            What.EXHAUSTED: self._dead_somewhere,
            What.DISPOSED: self._disposed,
            What.COLLECTED: self._collected,
            What.LIMIT: self._limit,
        }

    def hear(self, entry: Entry, process: LogProcess, at: int) -> None:
        """Take in one line, written at `at`."""
        what, key = entry.message.what, entry.message.key
        handler = self._handlers.get(what)
        if handler is None:
            return
        if key:
            place = (process.number, key)
            connection = self._known.get(place)
            last = self.echoes.last_of(place) if connection is None else connection.last
            if last[0] is what and not (connection and connection.pool.shared) and self.echoes.again(last, what, at):
                return
            if connection is not None:
                connection.last = (what, at)
        handler(entry, process, at)
        if key and (connection := self._known.get(place)) is not None:
            connection.last = (what, at)

    def finish(self) -> None:
        """The log is over: what is still held is open."""
        self._settle(0)
        for connection in self._known.values():
            if connection.returning is not None:
                self.ledger.checkin(connection.returning, connection.at)
            for lease in connection.leases:
                if connection.at:  # reset and not returned: an async driver's detached connection is not even closed
                    self.ledger.detach(lease, connection.at)
                else:
                    self.ledger.leave(lease)
            if connection.coming is not None:
                self.ledger.leave(connection.coming)
        for lease in self._reopening.rest():
            self.ledger.leave(lease)

    # A request gets its connection.

    def _created(self, entry: Entry, process: LogProcess, at: int) -> None:
        place = (process.number, entry.message.key)
        before = self._known.pop(place, None)
        if before is not None:
            self._vanished(before, at)
        pool, who = pool_of(entry, process)
        connection = Connection(process.connection(), pool, [])
        self._known[place] = connection
        pending = self._reopening.take(process.number, who)
        connect = UNKNOWN if pending is None else at - pending.at
        if pending is not None and pending.lease is not None:
            lease = pending.lease
            lease.connect, lease.connection, lease.fresh = connect, connection.number, True
            lease.reconnecting = False
            self.ledger.acquire(lease, at)
            connection.leases.append(lease)
        else:
            lease = lease_of(entry, process, pool, who, at if pending is None else pending.at)
            lease.connect, lease.connection, lease.fresh = connect, connection.number, True
            connection.coming = lease
        self._connect_record(process, lease, at, connection.number, 0)

    def _checked_out(self, entry: Entry, process: LogProcess, at: int) -> None:
        pool, who = pool_of(entry, process)
        connection = self._met(entry, process, pool)
        if connection.leases and not pool.shared:
            for held in connection.leases:
                if connection.at:  # its reset is there, its return is missing
                    self.ledger.checkin(held, connection.at)
                else:
                    self.ledger.lose(held)
            connection.leases.clear()
        if connection.returning is not None:
            self.ledger.checkin(connection.returning, connection.at)
            connection.returning = None
        lease, connection.coming = connection.coming, None
        if lease is None:
            lease = lease_of(entry, process, pool, who, at)
            lease.connection = connection.number
        else:
            lease.who = lease.who or who
        self.ledger.acquire(lease, at)
        connection.leases.append(lease)
        connection.at = 0

    def _fresh(self, entry: Entry, process: LogProcess, _at: int) -> None:
        pool, _ = pool_of(entry, process)
        pool.pinged = True

    def _ping(self, entry: Entry, process: LogProcess, _at: int) -> None:
        """The end of a ping that succeeds is not logged, so no ping's length counts."""
        pool, _ = pool_of(entry, process)
        pool.pinged = True
        connection = self._known.get((process.number, entry.message.key))
        if connection is not None and connection.leases:
            connection.leases[-1].ping = UNKNOWN

    def _found_dead(self, entry: Entry, process: LogProcess, _at: int) -> None:
        connection = self._known.get((process.number, entry.message.key))
        if connection is not None and connection.leases:
            connection.leases[-1].reconnecting = True

    def _dead_somewhere(self, entry: Entry, process: LogProcess, _at: int) -> None:
        """Somebody's connection is dead: theirs that is being checked out, if a failed ping has said so already."""
        _, who = pool_of(entry, process)
        told = any(
            lease.reconnecting and (lease.who == who or not who)
            for (number, _), connection in self._known.items()
            if number == process.number
            for lease in connection.leases
        )
        if not told or entry.message.what is What.EXHAUSTED:
            self._reopening.tell_dead(process.number, who, entry.message.what)

    def _recycle(self, entry: Entry, process: LogProcess, at: int) -> None:
        pool, who = pool_of(entry, process)
        connection = self._met(entry, process, pool)
        self._settle_connection(connection, at)
        connection.coming = None  # too old already (pool_recycle=0): its request gets the next one
        self._reopen(process, Pending(who, at, None))

    def _connect_failed(self, entry: Entry, process: LogProcess, at: int) -> None:
        """The text is the driver's: it may hold host, database and user, so nothing of it is kept."""
        if self.echoes.plain_again(entry.text[entry.message.start :], at):
            return
        pool, who = pool_of(entry, process)
        pending = self._reopening.take(process.number, who)
        lease = pending.lease if pending is not None else None
        if lease is None:
            lease = lease_of(entry, process, pool, who, at if pending is None else pending.at)
        lease.connect = UNKNOWN if pending is None else at - pending.at
        self._connect_record(process, lease, at, 0, ERROR)
        self.ledger.refuse(lease, at, ERROR)

    def _limit(self, entry: Entry, process: LogProcess, at: int) -> None:
        """The application logged the pool's TimeoutError: the one place where its settings are told."""
        if self.echoes.plain_again(entry.text[entry.message.start :], at):
            return
        pool_class, size, overflow, timeout = entry.message.detail
        of_class = [pool for pool in process.pools.values() if pool.pool_class == pool_class]
        pool = of_class[0] if len(of_class) == 1 else process.pool(pool_class, "")
        pool.settings["pool_size"] = int(size)
        pool.settings["max_overflow"] = max(int(overflow), int(pool.settings.get("max_overflow") or 0))
        pool.settings["pool_timeout_s"] = float(timeout)
        lease = Lease(process, pool, process.lease(), 0, at - round(float(timeout) * 1e9))
        lease.checked_out = int(size) + int(overflow)
        self.ledger.refuse(lease, at, TIMED_OUT, "sqlalchemy.exc.TimeoutError")

    # And gives it back, or not.

    def _returning(self, entry: Entry, process: LogProcess, at: int) -> None:
        pool, who = pool_of(entry, process)
        connection = self._met(entry, process, pool)
        if connection.returning is not None and pool.shared:
            self._settle_connection(connection, at)
        if connection.leases:
            connection.returning = theirs(connection.leases, who)
            connection.at = at
            self.ledger.release(connection.returning)
        elif connection.returning is None:
            self.ledger.orphan(process, pool, connection.number, at)

    def _reset(self, entry: Entry, process: LogProcess, at: int) -> None:
        """Without a return before it, the connection was detached, and is being closed."""
        connection = self._known.get((process.number, entry.message.key))
        if connection is not None and connection.leases and connection.returning is None:
            connection.at = at
            for lease in connection.leases:
                self.ledger.release(lease)

    def _closing(self, entry: Entry, process: LogProcess, at: int) -> None:
        place = (process.number, entry.message.key)
        connection = self._known.pop(place, None)
        self.echoes.close(place, entry.message.what, at)
        if connection is None:
            return
        if connection.coming is not None:  # a `connect` listener raised, or the dialect's first look
            self.ledger.refuse(connection.coming, at, ERROR)
        if connection.returning is not None:
            self._ending.append((place, connection.returning, connection.at))
            self._settle(MOST_CLOSED)
        for lease in connection.leases:
            self.ledger.detach(lease, connection.at or at)
        self.ledger.records.write(process, Kind.CLOSE, at, 0, 0, connection.pool, UNKNOWN, 0, connection.number, 0, 0)

    def _invalidate(self, entry: Entry, process: LogProcess, at: int) -> None:
        pool, who = pool_of(entry, process)
        connection = self._known.get((process.number, entry.message.key))
        if connection is None:
            return
        error = process.error(entry.message.detail[0]) if entry.message.detail else 0
        cancelled = bool(entry.message.detail) and entry.message.detail[0].rpartition(".")[2] in CANCELLATIONS
        flags = INVALIDATED | (CANCELLED if cancelled else 0)
        first = connection.leases[0].number if connection.leases else 0
        self.ledger.records.write(process, Kind.INVALIDATE, at, first, 0, pool, 0, 0, connection.number, error, 0)
        if connection.returning is not None:  # the reset failed
            self.ledger.checkin(connection.returning, at, flags)
            connection.returning = None
        leases, connection.leases = connection.leases, []
        for lease in leases:
            dead = self._reopening.take_dead(process.number, who)
            if dead is What.EXHAUSTED:
                self.ledger.refuse(lease, at, ERROR)
            elif dead is What.DISCONNECTED or lease.reconnecting:
                lease.reconnecting = True
                self._reopen(process, Pending(lease.who, at, lease))
            else:
                self.ledger.checkin(lease, at, flags)

    def _collected(self, entry: Entry, process: LogProcess, at: int) -> None:
        if "SAWarning" in entry.text:  # the same again, as a warning
            return
        place = (process.number, entry.message.key)
        self.echoes.close(place, entry.message.what, at)
        pool, _ = pool_of(entry, process)
        connection = self._known.get(place)
        if connection is not None:
            leases = [connection.returning] if connection.returning is not None else connection.leases
            ended_at = connection.at if connection.returning is not None else at
            connection.leases, connection.returning = [], None
            self._known.pop(place)
        else:
            ending = [one for one in self._ending if one[0] == place][-1:]  # an earlier one had the address before
            leases, ended_at = [one[1] for one in ending], ending[0][2] if ending else at
            self._ending = deque(one for one in self._ending if one not in ending)
        for lease in leases:
            if lease is not None:
                self.ledger.detach(lease, ended_at, ABANDONED)
        if not leases:
            self.ledger.orphan(process, pool, connection.number if connection else 0, at, ABANDONED)

    def _disposed(self, entry: Entry, process: LogProcess, _at: int) -> None:
        pool, _ = pool_of(entry, process)
        if entry.message.detail:
            pool.settings["pool_size"] = int(entry.message.detail[0])

    # Who is who.

    def _met(self, entry: Entry, process: LogProcess, pool: LogPool) -> Connection:
        place = (process.number, entry.message.key)
        connection = self._known.get(place)
        if connection is None:
            connection = self._known[place] = Connection(process.connection(), pool, [])
            connection.last = (entry.message.what, 0)
        return connection

    def _reopen(self, process: LogProcess, pending: Pending) -> None:
        given_up = self._reopening.add(process.number, pending)
        if given_up is not None:
            self.ledger.leave(given_up)

    def _settle_connection(self, connection: Connection, at: int) -> None:
        """The connection is idle at `at`, or was a moment ago."""
        if connection.returning is not None:
            self.ledger.checkin(connection.returning, connection.at)
            connection.returning = None
        if not connection.pool.shared:
            for lease in connection.leases:
                self.ledger.lose(lease, at)
            connection.leases.clear()

    def _settle(self, most: int) -> None:
        while len(self._ending) > most:
            _, lease, at = self._ending.popleft()
            self.ledger.checkin(lease, at)

    def _vanished(self, connection: Connection, at: int) -> None:
        """Its address belongs to a new connection, so it is no more, and nobody said so: detached and dropped."""
        if connection.returning is not None:
            self.ledger.checkin(connection.returning, connection.at)
        for lease in connection.leases:
            self.ledger.detach(lease, connection.at or at)
        if connection.coming is not None:
            self.ledger.refuse(connection.coming, at, ERROR)

    def _connect_record(self, process: LogProcess, lease: Lease, at: int, connection: int, flags: int) -> None:
        self.ledger.records.write(
            process, Kind.CONNECT, at, lease.number, flags, lease.pool, lease.connect, 0, connection, 0, 0, 0
        )
