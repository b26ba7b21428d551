"""SQLAlchemy's QueuePool as a discrete-event model: who waits, how long, and what is opened.

In: requests (instants, holds, costs) and the pool's rules. Out: per request when it got its slot, when it gave it back,
how it ended, and how many connections were opened. Knows nothing of traces, objectives or the database: a hold is as
long as it is given here (`database_model` makes holds that answer back).

What is modelled, checked against SQLAlchemy 2.1.9 (`pool/impl.py`, `util/queue.py`) by running the real pool in virtual
time: slots counted from the request of a new connection to the end of its close; idle connections taken FIFO or LIFO;
an overflow connection opened by the caller, who pays for it and never switches to one that came back meanwhile; a
returned connection kept while fewer than pool_size are idle, else closed with its slot held; recycle and pre-ping paid
by the caller; after pool_timeout one more look, which opens a connection if a slot became free silently (a failed
connect or an overflow close wakes nobody). A woken waiter that finds the queue empty again goes to its tail: in async
only when the returning task asks again without pausing, in threads whenever a newcomer is faster than the wake-up.
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from poolctl.analysis.pool_events import EventReplay
from poolctl.analysis.pool_rules import THREAD_WAKE_S, End, Outcome, Rules, Slots, Work

__all__ = ["THREAD_WAKE_S", "End", "EventReplay", "Outcome", "Rules", "Slots", "Work", "replay"]


def replay(work: Work, rules: Rules, warm: int = 0) -> Outcome:
    """Run the work through a pool with these rules that begins with `warm` idle connections.

    Takes the lean path (3–5 million requests a second) where it is exact: no overflow, recycle, failed connects,
    pings, client chains or threads; otherwise the full event loop.
    """
    simple = (
        rules.max_overflow == 0
        and rules.pool_size > 0
        and rules.pool_recycle_s < 0
        and rules.wake_s == 0
        and work.ping_s == 0
        and work.connect_fails is None
        and work.next_request is None
    )
    return _replay_lean(work, rules, warm) if simple else EventReplay(work, rules, warm).run()


def _replay_lean(work: Work, rules: Rules, warm: int) -> Outcome:
    """One heap holds the instant at which each slot is next free: FIFO service needs no queue."""
    size, timeout = rules.pool_size, rules.pool_timeout_s
    at, hold, connect = work.lists
    free = [-math.inf] * min(warm, size)
    granted: list[float] = []
    opened: list[int] = []
    started = 0
    for started, instant in enumerate(at):
        if free and free[0] <= instant:
            heapq.heapreplace(free, instant + hold[started])
        elif len(free) < size:
            heapq.heappush(free, instant + connect[started] + hold[started])
            opened.append(started)
        else:
            break
        granted.append(instant)
    else:
        started = len(at)
    grant, swap = granted.append, heapq.heapreplace
    # From here all connections are open. A request waits for the slot that is free first; requests that will
    # time out take none, whatever comes after them.
    for instant, length in zip(at[started:], hold[started:], strict=True):
        slot = free[0]
        if slot <= instant:
            swap(free, instant + length)
            grant(instant)
        elif slot <= instant + timeout:
            swap(free, slot + length)
            grant(slot)
        else:
            grant(math.nan)
    got = np.array(granted, dtype=np.float64)
    timed_out = np.isnan(got)
    fresh = np.zeros(len(at), dtype=np.bool_)
    fresh[opened] = True
    acquired = np.where(fresh, got + work.connect_s, got)
    ended = np.where(timed_out, work.requested_at_s + timeout, acquired + work.hold_s)
    end = np.where(timed_out, End.TIMED_OUT, End.RETURNED).astype(np.int8)
    return Outcome(work.requested_at_s, got, acquired, ended, end, fresh, len(free))
