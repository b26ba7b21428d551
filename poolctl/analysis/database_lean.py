"""The database model's lean path: the same events in one inlined loop, where the pool has no overflow.

In and out: as `database_model.DatabaseReplay`, with one outcome for all processes. Exact for pools of an asyncio
program without overflow, recycle and closed-loop clients: there a slot is only ever freed by a return, waiters are
served in order, and a waiter whose time is up needs no event of its own; it is passed over when its turn comes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np

from poolctl.analysis.database_model import Database, Programs
from poolctl.analysis.pool_rules import End, Ints, Outcome, Rules, Work


def replay_lean(  # noqa: C901 - one loop, inlined: three times as fast as with methods
    work: Work, rules: Rules, programs: Programs, mark: Ints, database: Database, warm: Sequence[int], pool_of: Ints
) -> tuple[Outcome, list[int]]:
    """Return the outcome of all requests, and the most connections each pool had open."""
    at, connect = [*work.requested_at_s.tolist(), math.inf], work.connect_s.tolist()
    steps, place = programs.steps.tolist(), programs.first[mark].tolist()
    last = (programs.first[mark + 1] - 1).tolist()
    lock, lock_step = programs.lock[mark].tolist(), programs.lock_step[mark].tolist()
    pools, count, size, timeout = pool_of.tolist(), len(mark), rules.pool_size, rules.pool_timeout_s
    idle = [min(each, size) for each in warm]
    opened_by, waiting = idle.copy(), [deque[int]() for _ in warm]
    queues, taken = [deque[int]() for _ in range(database.locks)], [False] * database.locks
    granted, acquired, ended = [math.nan] * count, [math.nan] * count, [math.nan] * count
    fresh, cold, cores = bytearray(count), database.connect_cold_s, database.cores
    active: list[tuple[float, int]] = []  # (virtual instant of completion, job; ~job: its connect)
    timers: list[tuple[float, int]] = []  # (instant, job): the application's turn is over
    now = virtual = 0.0
    position, arrival = 0, at[0]
    while True:
        busy = len(active)
        rate = 1.0 if busy <= cores else cores / busy
        done = now + (active[0][0] - virtual) / rate if busy else math.inf
        timer = timers[0][0] if timers else math.inf
        if done <= timer and done <= arrival:
            if done == math.inf:
                break
            now, (virtual, job) = done, heappop(active)
            if job < 0:
                job = ~job
                acquired[job] = now
            else:
                step = place[job] = place[job] + 1
                if step == last[job] and lock[job] >= 0:
                    queue = queues[lock[job]]
                    if queue:
                        following = queue.popleft()
                        heappush(active, (virtual + steps[place[following]], following))
                    else:
                        taken[lock[job]] = False
        elif timer <= arrival:
            virtual += (timer - now) * rate
            now, job = heappop(timers)
            if place[job] == last[job]:
                ended[job] = now
                pool = pools[job]
                queue = waiting[pool]
                while queue:
                    job = queue.popleft()
                    if at[job] + timeout >= now:
                        break
                    ended[job] = at[job] + timeout
                else:
                    idle[pool] += 1
                    continue
                granted[job] = acquired[job] = now
            else:
                step = place[job] = place[job] + 1
                if step == lock_step[job]:
                    if taken[lock[job]]:
                        queues[lock[job]].append(job)
                        continue
                    taken[lock[job]] = True
                extra = 0.0
                if cold and fresh[job] == 1:
                    fresh[job], extra = 2, cold
                heappush(active, (virtual + steps[step] + extra, job))
                continue
        else:
            virtual += (arrival - now) * rate
            now, job = arrival, position
            position += 1
            arrival = at[position]
            pool = pools[job]
            if idle[pool]:
                idle[pool] -= 1
                granted[job] = acquired[job] = now
            elif opened_by[pool] < size:
                opened_by[pool] += 1
                granted[job], fresh[job] = now, 1
                heappush(active, (virtual + connect[job], ~job))
                continue
            else:
                waiting[pool].append(job)
                continue
        step = place[job]
        if step == last[job] or steps[step] > 0:
            heappush(timers, (now + steps[step], job))
            continue
        step = place[job] = step + 1
        if step == lock_step[job]:
            if taken[lock[job]]:
                queues[lock[job]].append(job)
                continue
            taken[lock[job]] = True
        extra = 0.0
        if cold and fresh[job] == 1:
            fresh[job], extra = 2, cold
        heappush(active, (virtual + steps[step] + extra, job))
    got = np.array(granted)
    end = np.where(np.isnan(got), End.TIMED_OUT, End.RETURNED).astype(np.int8)
    opened = np.frombuffer(bytes(fresh), dtype=np.int8) > 0
    outcome = Outcome(work.requested_at_s, got, np.array(acquired), np.array(ended), end, opened, sum(opened_by))
    return outcome, opened_by
