"""Structure: what the leases of a run did, apart from the contention they met.

In: leases and their statements, the server's cores if known. Out: `Programs` and `Database` for the database model:
application time and SQL work by turns, with the slowing-down by others and the waiting for row locks taken out. Knows
nothing of sizes. Notes on sizing, "recommended model": one trace is enough; never a regression of hold on
concurrency.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from poolctl.analysis.cores import effective_cores, estimate_cores, virtual_time
from poolctl.analysis.database_model import NO_LOCK, Database, Programs
from poolctl.analysis.demand import Recorded
from poolctl.analysis.locks import PLACES, Station, find_stations, without_lock_waits
from poolctl.analysis.pool_rules import Floats, Ints

TOTALS_FROM = 200_000
"""With more leases than this a program keeps only its totals: application time, all its SQL, application time."""
CPU_MATTERS = 0.2
"""Share of SQL in the holds from which their length depends on the machine; below it, what slows statements down in a
crowd is the event loop that asks, and no core."""
FRESH = 10
"""First statements on new connections that must be seen before a cold start is priced."""


@dataclass(frozen=True)
class Structure:
    """A run, taken apart."""

    programs: Programs
    database: Database
    connect_work_s: Floats
    """Connects that were seen, as work, to draw from."""
    sql_share: float
    """SQL work ÷ (application time + SQL work)."""
    cores_known: str
    """Where the number of cores comes from: told, estimated, effective (fewer were at work than that), unknown."""
    slowed: float
    """Measured SQL time ÷ SQL work: how much contention the run itself had."""
    peak_active: int
    """Most pieces of SQL that ran at once in the run."""
    stations: list[Station]

    def scaled(self, slower: float) -> tuple[Programs, Database]:
        """Return the programs and the database with all SQL work × `slower`."""
        if slower == 1.0:
            return self.programs, self.database
        steps, first = self.programs.steps.copy(), self.programs.first
        begin = np.zeros(len(steps), dtype=np.int64)
        begin[first[:-1]] = first[:-1]
        odd = (np.arange(len(steps)) - np.maximum.accumulate(begin)) % 2 == 1
        steps[odd] *= slower
        return replace(self.programs, steps=steps), self.database


@dataclass(frozen=True)
class Pieces:
    """Statements of the leases, sorted by lease and start."""

    mark: Ints
    start_s: Floats
    end_s: Floats
    place: Ints
    """0 for a lease's first statement, 1 for its second, …"""


def fit(recorded: Recorded, statements: pd.DataFrame, cores: float | None = None) -> Structure | None:
    """Take the run apart; None where it holds no statements."""
    pieces = _pieces(recorded.rows, statements)
    if not len(pieces.mark):
        return None
    site = recorded.demands[0].marks.site
    acquired = recorded.rows["acquired_at_s"].to_numpy(dtype=np.float64)
    ended = _ended(recorded, acquired)
    stations = find_stations(pieces.mark, pieces.place, pieces.start_s, pieces.end_s, site, acquired, ended)
    started = without_lock_waits(stations, pieces.mark, pieces.place, pieces.start_s, pieces.end_s, site)
    connect_start, connect_end = _connects(recorded.rows)
    starts, ends = np.concatenate([started, connect_start]), np.concatenate([pieces.end_s, connect_end])
    chosen, known = cores or np.inf, "told" if cores else "unknown"
    if not stations:
        busy = float((ends - starts).sum()) >= CPU_MATTERS * float(np.nansum(ended - acquired))
        chosen, known = _cores(starts, ends, _kinds(pieces, recorded, len(starts)), cores, busy)
    clock, peak = virtual_time(starts, ends, chosen)
    work = clock(pieces.end_s) - clock(started)
    connects = np.concatenate([clock(connect_end) - clock(connect_start), recorded.probed_connect_s])
    cold = _cold(pieces, work, recorded.rows, site, recorded.cold_s)
    programs = _programs(pieces, work, acquired, ended, site, stations)
    spent = float((pieces.end_s - started).sum())
    total = float(work.sum())
    application = float(programs.steps.sum()) - total
    return Structure(
        programs,
        Database(chosen, len(stations), recorded.demands[0].marks.close_s, cold),
        connects if len(connects) else recorded.demands[0].marks.connect_s,
        total / max(total + application, 1e-12),
        known,
        spent / max(total, 1e-12),
        peak,
        stations,
    )


def _pieces(rows: pd.DataFrame, statements: pd.DataFrame) -> Pieces:
    """Match statements with marks; a lease without any is one piece of its sql_time, where that is known."""
    mark = np.empty(0, dtype=np.int64)
    start = end = np.empty(0)
    if len(statements):
        mark = _mark_of(rows, statements)
        start = statements["started_at_s"].to_numpy(dtype=np.float64)
        end = start + np.maximum(statements["sql_time_s"].to_numpy(dtype=np.float64), 0)
        kept = (mark >= 0) & np.isfinite(start) & np.isfinite(end)
        mark, start, end = mark[kept], start[kept], end[kept]
    if "sql_time_s" in rows:
        acquired = rows["acquired_at_s"].to_numpy(dtype=np.float64)
        sql = rows["sql_time_s"].to_numpy(dtype=np.float64)
        bare = np.isfinite(acquired) & (sql > 0) & ~np.isin(np.arange(len(rows)), mark)
        extra = np.flatnonzero(bare)
        mark = np.concatenate([mark, extra])
        start, end = np.concatenate([start, acquired[extra]]), np.concatenate([end, (acquired + sql)[extra]])
    order = np.lexsort((start, mark))
    mark, start, end = mark[order], start[order], end[order]
    begins = np.flatnonzero(np.diff(mark, prepend=-1))
    place = np.arange(len(mark)) - np.repeat(begins, np.diff(np.append(begins, len(mark))))
    return Pieces(mark, start, end, place)


def _mark_of(rows: pd.DataFrame, statements: pd.DataFrame) -> Ints:
    """Return the mark of each statement's lease, or -1."""
    found = np.full(len(statements), -1, dtype=np.int64)
    process, lease = rows["process"].to_numpy(), rows["lease"].to_numpy(dtype=np.int64)
    owner, wanted = statements["process"].to_numpy(), statements["lease"].to_numpy(dtype=np.int64)
    for one in np.unique(process):
        mine = np.flatnonzero(process == one)
        mine = mine[np.argsort(lease[mine], kind="stable")]
        theirs = np.flatnonzero(owner == one)
        at = np.minimum(np.searchsorted(lease[mine], wanted[theirs]), len(mine) - 1)
        hit = lease[mine][at] == wanted[theirs]
        found[theirs[hit]] = mine[at[hit]]
    return found


def _ended(recorded: Recorded, acquired: Floats) -> Floats:
    """Return when each lease gave its slot back, as the demand has it (an open lease: at the end of the run)."""
    return acquired + recorded.demands[0].marks.hold_s


def _connects(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    acquired = rows["acquired_at_s"].to_numpy(dtype=np.float64)
    connect = rows["connect_time_s"].to_numpy(dtype=np.float64) if "connect_time_s" in rows else np.zeros(len(rows))
    ping = np.nan_to_num(rows["ping_time_s"].to_numpy(dtype=np.float64)) if "ping_time_s" in rows else 0.0
    end = acquired - ping
    seen = np.isfinite(end) & (connect > 0)
    return (end - connect)[seen], end[seen]


def _cores(starts: Floats, ends: Floats, kind: Ints, told: float | None, busy: bool) -> tuple[float, str]:
    """Return the cores that were at work in a run without locks, and where they are known from."""
    estimated = estimate_cores(starts, ends)
    known = "told" if told else "estimated" if estimated else "unknown"
    allowed = told or estimated or np.inf
    effective = effective_cores(starts, ends, kind, allowed) if busy else allowed
    return effective, "effective" if effective < allowed else known


def _kinds(pieces: Pieces, recorded: Recorded, count: int) -> Ints:
    """Return a number for site and place of each piece; -1 on new connections, and for the connects up to `count`."""
    kinds = np.full(count, -1, dtype=np.int64)
    site = recorded.demands[0].marks.site[pieces.mark]
    kinds[: len(site)] = site * PLACES + np.minimum(pieces.place, PLACES - 1)
    if "fresh" in recorded.rows:
        kinds[: len(site)][recorded.rows["fresh"].to_numpy(dtype=np.bool_)[pieces.mark]] = -1
    return kinds


def _cold(pieces: Pieces, work: Floats, rows: pd.DataFrame, site: Ints, probed: float) -> float:
    """Return what a first statement costs more on a new connection, and take it out of `work`.

    Where few are seen it is what probes said, 0 without them.
    """
    if "fresh" not in rows:
        return probed
    fresh = rows["fresh"].to_numpy(dtype=np.bool_)[pieces.mark]
    first = pieces.place == 0
    extra: list[float] = []
    for one in np.unique(site[pieces.mark[first & fresh]]):
        here = first & (site[pieces.mark] == one)
        usual = work[here & ~fresh]
        if len(usual) >= FRESH:
            extra += (work[here & fresh] - np.median(usual)).tolist()
    cold = max(float(np.median(extra)), 0.0) if len(extra) >= FRESH else probed
    work[first & fresh] = np.maximum(work[first & fresh] - cold, 0)
    return cold


def _programs(
    pieces: Pieces, work: Floats, acquired: Floats, ended: Floats, site: Ints, stations: list[Station]
) -> Programs:
    """Lay out application time and work by turns for every mark."""
    count = len(acquired)
    mark, place = pieces.mark, pieces.place
    held = np.nan_to_num(ended - acquired)
    number = np.bincount(mark, minlength=count)
    lock, lock_place = np.full(count, NO_LOCK, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    for position, station in enumerate(stations):
        takes = (site == station.site) & (number > station.place)
        lock[takes], lock_place[takes] = position, station.place
    until = _running_end(pieces)
    previous = np.where(place == 0, acquired[mark], np.concatenate([[0.0], until[:-1]]))
    gap = np.maximum(pieces.start_s - previous, 0)
    last = np.flatnonzero(np.append(mark[1:] != mark[:-1], True)) if len(mark) else np.empty(0, dtype=np.int64)
    tail = held.copy()
    tail[mark[last]] = np.maximum(ended[mark[last]] - until[last], 0)
    if count > TOTALS_FROM and not stations:
        return _totals(count, number, mark, place, gap, work, tail, lock)
    first = np.concatenate([[0], np.cumsum(2 * number + 1)]).astype(np.int64)
    steps = np.zeros(int(first[-1]))
    steps[first[mark] + 2 * place] = gap
    steps[first[mark] + 2 * place + 1] = work
    steps[first[1:] - 1] = tail
    lock_step = np.where(lock == NO_LOCK, -1, first[:-1] + 2 * lock_place + 1)
    return Programs(steps, first, lock, lock_step)


def _totals(
    count: int, number: Ints, mark: Ints, place: Ints, gap: Floats, work: Floats, tail: Floats, lock: Ints
) -> Programs:
    """Keep of each mark only the time before its first statement, all its work, and the rest of its application
    time."""
    head = np.zeros(count)
    head[mark[place == 0]] = gap[place == 0]
    rest = np.bincount(mark, np.where(place > 0, gap, 0), minlength=count) + tail
    bare = number == 0
    first = np.concatenate([[0], np.cumsum(np.where(bare, 1, 3))]).astype(np.int64)
    steps = np.zeros(int(first[-1]))
    with_sql = first[:-1][~bare]
    steps[with_sql] = head[~bare]
    steps[with_sql + 1] = np.bincount(mark, work, minlength=count)[~bare]
    steps[first[1:] - 1] = rest
    return Programs(steps, first, lock, np.full(count, -1, dtype=np.int64))


def _running_end(pieces: Pieces) -> Floats:
    """Return the latest end so far among a lease's statements: pieces may overlap in pipelines."""
    if not len(pieces.mark):
        return np.empty(0)
    lift = pieces.mark * (float(pieces.end_s.max()) + 1.0)  # a running maximum that cannot leak into the next lease
    result: npt.NDArray[np.float64] = np.maximum.accumulate(pieces.end_s + lift) - lift
    return result
