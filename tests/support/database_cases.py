"""Runs behind a database of known cores and locks: what capture would have recorded of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sizing_cases import Tables

from poolctl.analysis.database_model import NO_LOCK, Database, DatabaseReplay, Programs
from poolctl.analysis.pool_model import End, Rules, Work
from poolctl.analysis.pool_rules import Floats, Ints, Outcome


@dataclass(frozen=True)
class Truth:
    """Arrivals, what each does (its mark is its own number), and the server."""

    at: Floats
    programs: Programs
    site: Ints
    cores: float
    locks: int = 0

    def run(self, rules: Rules, connect_s: float = 0.003) -> tuple[Outcome, pd.DataFrame]:
        """Return the outcome at these rules and the statements as they ran."""
        count = len(self.at)
        work = Work(self.at, np.zeros(count), np.full(count, connect_s))
        replay = _Recording(work, rules, self.programs, np.arange(count), Database(self.cores, self.locks))
        outcome = replay.run()
        frame = pd.DataFrame(replay.log, columns=["lease", "started_at_s", "ended_at_s"])
        frame["process"], frame["control"] = 100, False
        frame["sql_time_s"] = frame["ended_at_s"] - frame["started_at_s"]
        return outcome, frame

    def tables(self, rules: Rules) -> Tables:
        outcome, statements = self.run(rules)
        lost = outcome.end == End.TIMED_OUT
        count = len(self.at)
        leases = pd.DataFrame(
            {
                "process": 100,
                "pool": 1,
                "lease": np.arange(count),
                "site": np.char.add("app.py:", self.site.astype(str)),
                "context": "c",
                "client": 0,
                "requested_at_s": outcome.requested_at_s,
                "acquired_at_s": outcome.acquired_at_s,
                "ended_at_s": outcome.ended_at_s,
                "wait_time_s": outcome.wait_s,
                "connect_time_s": np.where(outcome.opened, outcome.acquired_at_s - outcome.granted_at_s, 0.0),
                "ping_time_s": 0.0,
                "hold_time_s": np.where(lost, np.nan, outcome.ended_at_s - outcome.acquired_at_s),
                "end": np.where(lost, "timed_out", "returned"),
                "fresh": outcome.opened,
                "connection": np.where(lost, 0, np.cumsum(outcome.opened)),
            }
        )
        operations = pd.DataFrame(
            {"process": [100], "item": [0], "transaction": ["c"], "intended_at_s": [0.0], "outcome": ["done"]}
        )
        return Tables(leases, operations, statements)


class _Recording(DatabaseReplay):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.log: list[tuple[int, float, float]] = []
        self.started: dict[int, float] = {}

    def _work(self, now: float, job: int) -> None:
        self.started[job] = now
        super()._work(now, job)

    def _worked(self, now: float, job: int) -> None:
        self.log.append((job, self.started.pop(job), now))
        super()._worked(now, job)


def programs(rows: list[list[float]], lock: Ints, lock_place: int = 0) -> Programs:
    """Lay out one program a request: application time, work, application time, …"""
    first = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    step = np.where(lock == NO_LOCK, -1, first[:-1] + 2 * lock_place + 1)
    return Programs(np.concatenate(rows), first, lock, step)


def app_bound(at: Floats, seed: int) -> Truth:
    """Thirty milliseconds of application time, two cheap statements."""
    random = np.random.default_rng(seed)
    rows = [[0.0, 0.0008, wait, 0.0008, 0.0005] for wait in random.lognormal(np.log(0.028), 0.3, len(at))]
    none = np.full(len(at), NO_LOCK)
    return Truth(at, programs(rows, none), np.zeros(len(at), dtype=np.int64), 2)


def cpu_bound(at: Floats, seed: int, work_s: float = 0.008) -> Truth:
    """One heavy statement, hardly any application time."""
    random = np.random.default_rng(seed)
    rows = [[0.0002, work, 0.0005] for work in random.gamma(4, work_s / 4, len(at))]
    return Truth(at, programs(rows, np.full(len(at), NO_LOCK)), np.zeros(len(at), dtype=np.int64), 2)


def lock_bound(at: Floats, seed: int, share: float = 0.4) -> Truth:
    """A share of the transactions change one hot row, then think for some milliseconds before they commit."""
    random = np.random.default_rng(seed)
    hot = random.random(len(at)) < share
    wait = random.lognormal(np.log(0.012), 0.3, len(at))
    rows = [[0.0, 0.0010, float(pause), 0.0008, 0.0004] for pause in wait]
    return Truth(at, programs(rows, np.where(hot, 0, NO_LOCK)), hot.astype(np.int64), 2, 1)
