"""Core: what the hooks do at every lease. Compiled where that can be (`poolctl.uncompiled`), for here is the cost.

In: SQLAlchemy's objects, as the wrappers in `hooks`, `sql_hooks` and `return_hooks` hand them over; each of those makes
the call of the original itself, for Python calls Python more cheaply than anything compiled does. Out: a `Lease`, and
through it the ring's records. Nothing here raises what is not the application's: errors are counted.
"""

from __future__ import annotations

import sys
from _weakref import ref
from threading import get_ident
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from poolctl.capture.recorder import OVERHEAD
from poolctl.capture.scope import current as current_scope
from poolctl.capture.state import ConnectionState, Lease, PoolState, Spent, blank
from poolctl.capture.tasks import running, running_task
from poolctl.clock import monotonic_ns
from poolctl.trace.events import Flag, Kind
from poolctl.trace.ring import ACQUIRED, NO_STATEMENT, RETURNED, SAMPLE_EVERY
from poolctl.trace.tail import Tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    import cython
else:
    from poolctl import uncompiled as cython

IDLE_WORTH_NS = 10_000_000
"""Held without being used for so long, the line that ends it is worth a look at the frames.

A statement that ends within this time of a lease's last written record waits for the next (`Watch.flush`).
"""

# As C has them: what a function here looks up in the module is an object, and costs as much as one.
_ACQUIRED, _RETURNED, _NO_STATEMENT, _NOT_SAMPLED = ACQUIRED, RETURNED, NO_STATEMENT, SAMPLE_EVERY - 1
_CANCELLED, _OVERFLOW = int(Flag.CANCELLED), int(Flag.OVERFLOW)
_IDLE_NS, _LONGEST_NS = IDLE_WORTH_NS, 0xFFFFFFFF
_tasks = running
_scope_now = current_scope.get

if not cython.compiled:
    put = Tail.words
    now, address, number_of, weakly, here = monotonic_ns, id, id, ref, sys._getframe

    def back(frame: Any) -> Any:
        """Return the frame that called."""
        return frame.f_back

    def code_of(frame: Any) -> int:
        """Return the id of what a frame runs."""
        return id(frame.f_code)

    def at_instruction(frame: Any) -> int:
        """Return where in it."""
        instruction: int = frame.f_lasti
        return instruction


class Core:
    """The memory of capture, and what is done with it at every lease. What is rare is in `Connections` and `Watch`.

    (What mypy is told to ignore here is theirs: C's classes have no abstract methods.)
    """

    def __init__(self, recorder: Any) -> None:
        self.recorder = recorder
        self.ring = recorder.ring
        self.pools: dict[int, PoolState] = {}
        """By the id of the pool."""
        self.connections: dict[int, ConnectionState] = {}
        """By the id of the driver's connection (SQLAlchemy's adapter of it)."""
        self.leases: dict[int, Lease] = {}
        """Those that hold, by the id of SQLAlchemy's proxy; the record may be somebody else's the moment it is back."""
        self.returning: dict[int, Lease] = {}
        """Leases on their way back: by the id of the record."""
        self.spent: dict[int, Spent] = {}
        """Times of requests under way, by the id of the record they got, or of the exception they end with.

        Never by thread or task: listeners ask for connections too, and tasks interleave.
        """
        self.opentelemetry: Any = None
        # The recorder clears its tables, and never makes new ones.
        self.codes: dict[tuple[int, int], int] = recorder.codes
        self.statements: dict[str, int] = recorder.statements
        self.skipped: set[int] = recorder.walker.skipped
        self.getcurrent: Any = None
        """greenlet's, once somebody imported it."""
        self.numbers = 0
        """Leases so far."""

    def follow(self, ring: Any) -> None:
        """The recorder writes to another ring from now on."""
        self.ring = ring

    def begin(self, pool: Any, owner: Any) -> Lease | None:
        """A pool is asked, by the `connect` that `owner` defines; return the request, None when it is not to be seen.

        A class's override may come to its super: only the outermost is the request (`PoolState.owner`).
        """
        try:
            requested_at = now()
            state = self.pools.get(address(pool))
            if state is None:
                state = self.pool(pool)  # type: ignore[attr-defined]
            if state.owner is not owner:
                return None
            lease = blank()
            lease.requested_at = requested_at
            lease.pool = state
            if state.is_async:
                self._asked_by_task(lease)
            else:
                lease.asked_by = get_ident()
                lease.site = self._site()
            lease.waiting, lease.held, lease.opened = state.waiting, state.checked_out, state.open
            self.numbers = lease.number = self.numbers + 1  # one statement: nothing comes in between under a GIL
            scope = _scope_now()
            intended_at = item = 0
            if scope is not None:
                intended_at, item = scope.intended_at, scope.item
                lease.context = self.recorder.context(scope.name)
                if scope.site is not None:
                    lease.site = self.recorder.site_of(scope.site)
            if lease.opened <= lease.held or intended_at or item:  # nothing idle: it may take long
                lease.told = True
                self.tell(lease, intended_at, item)
            if self.opentelemetry is not None:
                self.trace(lease)  # type: ignore[attr-defined]
            if not lease.number & _NOT_SAMPLED:
                self.begin_sample(requested_at)  # type: ignore[attr-defined]
            return lease
        except Exception:
            self.recorder.count_error()
            return None

    def _asked_by_task(self, lease: Lease) -> None:
        task = None
        if len(_tasks) == 1:  # the only task that runs anywhere: ours
            for task in _tasks.values():  # noqa: B007 - C's way to take the first
                break
            lease.asked_by = number_of(task)
        else:
            task, lease.asked_by = running_task()
        if task is not None:
            lease.task = weakly(task)
        try:
            # Who awaits the greenlet is SQLAlchemy, or nobody we know: look from its caller on.
            lease.site = self._known(back(back(self.getcurrent().parent.gr_frame)))
        except (KeyError, AttributeError, TypeError):  # never seen; no greenlet yet; not in one; no frame
            lease.site = self.recorder.first_sight(True)
            self.getcurrent = self.recorder.walker.getcurrent

    def _site(self) -> int:
        try:
            return self._known(here())
        except (KeyError, AttributeError):  # never seen; no frame left
            site: int = self.recorder.first_sight(False)
            return site

    def _known(self, frame: Any) -> int:
        """Return the number of the first place outward from a frame that may have asked."""
        code = code_of(frame)
        while code in self.skipped:
            frame = back(frame)
            code = code_of(frame)
        return self.codes[code, at_instruction(frame)]

    def granted(self, lease: Lease, fairy: Any) -> None:
        """The request got a connection."""
        try:
            acquired_at = now()
            state = lease.pool
            lease.started_at = lease.control_at = acquired_at
            connection = self.connections.get(address(fairy.dbapi_connection))
            if connection is None:
                connection = self.found(fairy._connection_record, state)  # type: ignore[attr-defined]
            lease.connection = connection
            flags = _OVERFLOW if state.checked_out >= state.size else 0
            if connection.news:
                flags |= self.news(lease, fairy)  # type: ignore[attr-defined]
            took = acquired_at - lease.requested_at
            if lease.told or self.spent or took > _LONGEST_NS:  # four seconds: a listener of the application's
                self._answered(lease, fairy, acquired_at, flags)
            else:
                put(
                    self.ring,
                    lease.requested_at,
                    lease.number,
                    _ACQUIRED | flags << 8 | state.meta | lease.site << 32,
                    lease.asked_by,
                    connection.word,
                    took | _count(lease.waiting) << 32 | _count(lease.held) << 48,
                    (lease.opened if lease.opened > 0 else 0) | lease.context << 32,
                )
            self.leases[address(fairy)] = lease
            state.checked_out += 1  # last: an error or an interrupt above leaves no count
            if not lease.number & _NOT_SAMPLED:
                lease.sampled = True
                self.overhead(acquired_at)
        except Exception:
            self.recorder.count_error()

    def _answered(self, lease: Lease, fairy: Any, at: int, flags: int) -> None:
        """The answer to a request that is told by itself: it took its time."""
        connection = lease.connection
        if not lease.told:
            self.tell(lease, 0, 0)
        wait, dial, ping = self.settle(lease, address(fairy._connection_record))  # type: ignore[attr-defined]
        self.ring.write(
            Kind.CHECKOUT, at, lease.number, flags, lease.pool.number, lease.site,
            wait, dial, ping, connection.number, connection.backend_pid,
        )  # fmt: skip

    def refused(self, lease: Lease, error: BaseException) -> None:
        """The request ends without a connection."""
        try:
            at, state, why = now(), lease.pool, self.recorder.error(error)
            if not lease.told:
                self.tell(lease, 0, 0)
            flags = _CANCELLED  # CancelledError, GreenletExit, GeneratorExit, KeyboardInterrupt
            if isinstance(error, Exception):
                flags = int(Flag.TIMED_OUT if isinstance(error, PoolTimeoutError) else Flag.ERROR)
            wait, dial, ping = self.settle(lease, address(error))  # type: ignore[attr-defined]
            self.ring.write(
                Kind.REFUSED, at, lease.number, flags, state.number, lease.site,
                wait, dial, ping, why, _count(state.waiting), _count(state.checked_out),
            )  # fmt: skip
        except Exception:
            self.recorder.count_error()

    def tell(self, lease: Lease, intended_at: int, item: int) -> None:
        """Write the request by itself."""
        self.ring.write(
            Kind.REQUEST, lease.requested_at, lease.number, 0, lease.pool.number, lease.site, intended_at,
            lease.asked_by, lease.context, item, _count(lease.waiting), _count(lease.held), max(0, lease.opened),
        )  # fmt: skip

    def executing(self, context: Any) -> Lease | None:
        """A dialect executes a statement; return for which lease. None: for none, or it is told by an outer call."""
        try:
            fairy = context.root_connection._dbapi_connection
        except Exception:  # no context, or one of somebody's own making
            return None
        return self._working(fairy)

    def ending(self, dbapi_connection: Any) -> Lease | None:
        """A dialect ends a transaction; return for which lease, as `executing` does."""
        return self._working(dbapi_connection)

    def _working(self, fairy: Any) -> Lease | None:
        lease = self.leases.get(address(fairy))
        if lease is None or lease.in_sql:
            return None
        lease.in_sql = True
        lease.began_at = now()
        return lease

    def executed(self, lease: Lease, statement: Any) -> None:
        """It did."""
        try:
            at = now()
            lease.in_sql = False
            if lease.statement != _NO_STATEMENT or at - lease.started_at >= _IDLE_NS:
                self.worked(lease, lease.began_at, at, self.recorder.statement(statement))  # type: ignore[attr-defined]
            else:
                number = self.statements.get(statement) if isinstance(statement, str) else None
                lease.statement = self.recorder.statement(statement) if number is None else number
                lease.started_at = lease.began_at
                lease.took = at - lease.began_at
            if lease.sampled:
                self.overhead(at)
        except Exception:
            self.recorder.count_error()

    def ended(self, lease: Lease) -> None:
        """It did; within a return that is its reset."""
        try:
            at = now()
            lease.in_sql = False
            if lease.closing_at:
                lease.reset = at - lease.closing_at
            elif lease.control_took or at - lease.control_at >= _IDLE_NS:
                self.worked(lease, lease.began_at, at, 0, int(Flag.SKIPPED))  # type: ignore[attr-defined]
            else:
                lease.control_at = lease.began_at
                lease.control_took = at - lease.began_at
            if lease.sampled:
                self.overhead(at)
        except Exception:
            self.recorder.count_error()

    def leaving(self, fairy: Any, record: Any) -> Lease | None:
        """A connection goes back, of `fairy`, or by the collector (None); return the lease that this ends."""
        try:
            lease = self.leases.get(address(fairy)) if fairy is not None else self.orphan(record)  # type: ignore[attr-defined]
            if lease is None:
                return None
            lease.closing_at = now()
            if fairy is None or not lease.pool.is_async:
                lease.returned_at = 0
                self.returning[lease.record] = lease
            return lease
        except Exception:
            self.recorder.count_error()
            return None

    def left(self, lease: Lease, fairy: Any) -> None:
        """It went back: unless the connection was detached on the way, the slot is free."""
        try:
            at = now()
            state = lease.pool
            if fairy is None:
                self.returning.pop(lease.record, None)
                if lease.detached:
                    return
                at = lease.returned_at or at
            else:
                if self.leases.pop(address(fairy), None) is None:  # it left the pool with its holder
                    return
                if not state.is_async:
                    self.returning.pop(lease.record, None)
                    at = lease.returned_at or at
                elif lease.task is not None and (task := lease.task()) is not None and task.cancelling():
                    lease.unfold()
                    lease.flags |= _CANCELLED
            if lease.plain and at - lease.requested_at <= _LONGEST_NS and lease.sql <= _LONGEST_NS:
                state.checked_out -= 1
                put(
                    self.ring,
                    at,
                    lease.number,
                    _RETURNED | state.meta | lease.site << 32,
                    at - lease.started_at | lease.took << 32,
                    at - lease.control_at | lease.control_took << 32,
                    at - lease.closing_at | lease.reset << 32,
                    lease.statement | lease.sql << 32,
                )
            else:
                self.end(lease, at)  # type: ignore[attr-defined]
            if lease.sampled:
                self.overhead(at)
        except Exception:
            self.recorder.count_error()

    def overhead(self, since: int) -> None:
        """Count the time since then as capture's own."""
        self.ring.counters[OVERHEAD] += now() - since


def _count(number: int) -> int:
    """Return a count that fits into 16 bits."""
    return 0 if number < 0 else 0xFFFE if number > 0xFFFE else number
