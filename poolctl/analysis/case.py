"""Case: a run made ready for sizing: its demand, the engine it calls for, the goals.

In: tables, settings, objectives, what is known of the server. Out: a `Case`, or the reason why there can be none.
Decides no size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from poolctl.analysis import stats
from poolctl.analysis.calibration import read_calibration, with_probes
from poolctl.analysis.clients import closed_by_task, deadlock_floor, population_is_capped
from poolctl.analysis.demand import Demand, Recorded, read_demand
from poolctl.analysis.engines import Structural, choose
from poolctl.analysis.goals import Goal, waiting_goals
from poolctl.analysis.machine_use import MachineUse, machine_use
from poolctl.analysis.objectives import QUANTILES, Objective
from poolctl.analysis.predict import rules_of
from poolctl.analysis.search import Search
from poolctl.analysis.structure import CPU_MATTERS, Structure
from poolctl.analysis.thinning import thin
from poolctl.trace.report import PoolSettings, ServerInfo

FEWEST = 59
"""Requests below which not even a p95 is supported."""
CLOSED_WITHOUT_CLIENTS = (
    "no advice: the requests come from clients that wait for each answer, and which client asked was not recorded; "
    "replayed as if they came by themselves they would mislead in either direction"
)


class HasTables(Protocol):
    """What sizing reads of `analysis.leases.Tables`."""

    leases: pd.DataFrame
    operations: pd.DataFrame

    @property
    def statements(self) -> pd.DataFrame:
        """One row a statement; may be empty."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asked of sizing besides the objectives. The defaults ask for nothing."""

    sizes: tuple[int, ...] = ()
    """Sizes to predict besides those that the answer needs."""
    overflows: tuple[int, ...] = ()
    """Values of max_overflow to predict at each size; none: 0, and where `grid` is set what is sensible."""
    grid: bool = False
    """Predict a grid of sizes and overflows."""
    deadline_s: float | None = None
    """The caller's own timeout."""
    idle_limit_s: float | None = None
    """The shortest idle timeout on the path: server, proxy, firewall."""
    rolling: bool = False
    """During a deploy old and new processes run side by side: the server must have room for both."""


@dataclass(frozen=True)
class Case:
    """Everything one recommendation is made from."""

    demands: list[Demand]
    """The requests of each process."""
    recorded: Recorded
    search: Search
    settings: PoolSettings
    """What the run ran with."""
    structure: Structure | None
    scripted: bool
    """The arrivals are a scenario's own."""
    requests: int
    """Recorded; the demands may hold fewer, windows of a long run."""
    duration_s: float
    """From the first request to the last."""
    processes: int
    """How many will run."""
    server: ServerInfo | None = None
    wishes: Wishes = Wishes()
    seed: int = 0
    floor: int = 1
    """Capacity below which tasks that hold several connections at once can block each other."""
    use: MachineUse | None = None
    """Who used the machine meanwhile; None: not known, or the server is elsewhere."""
    supposed: str = ""
    """What is supposed beyond the recording, in words; empty: nothing."""

    @property
    def disturbed(self) -> bool:
        """Whether others used the machine so much that its holds, which need CPU, say little."""
        needs = self.structure is not None and isinstance(self.search.engine, Structural)
        sql = self.structure.sql_share if self.structure is not None else 0.0
        return needs and sql >= CPU_MATTERS and self.use is not None and self.use.disturbed

    @property
    def closed(self) -> bool:
        """Whether clients wait for each answer before they ask again."""
        return all(demand.client is not None for demand in self.demands)


def too_few(goals: Sequence[Goal], requests: int) -> str | None:
    """Return why so many requests cannot support the quantiles that the goals are about; None where they can."""
    for goal in goals:
        share = QUANTILES.get(goal.objective.statistic)
        if share is not None and requests < (least := stats.needed(share)):
            return f"no advice: {requests} requests were recorded, a {goal.objective.statistic} needs {least}"
    return None


def prepare(
    tables: HasTables,
    settings: PoolSettings,
    objectives: Sequence[Objective | str],
    server: ServerInfo | None,
    seed: int,
    *,
    scripted: bool | None = None,
    closed: bool | None = None,
    most_requests: int | None = None,
) -> Case | str:
    """Return the case, or why there is none. For the arguments see `sizing.recommend`."""
    leases, operations, statements = tables.leases.reset_index(drop=True), tables.operations, tables.statements
    leases = leases[leases["requested_at_s"].notna()].reset_index(drop=True)
    if len(leases) < FEWEST:
        return f"no advice: {len(leases)} requests were recorded, a p95 needs {FEWEST}"
    goals = waiting_goals(objectives)
    if (few := too_few(goals, len(leases))) is not None:
        return few
    if leases["wait_time_s"].isna().all():
        return "no advice: what this run was made from does not tell who waited, so no prediction can be checked"
    scripted = not operations.empty if scripted is None else scripted
    at, floor = leases["requested_at_s"].to_numpy(dtype=np.float64), deadlock_floor(leases)
    duration_s, total = float(at.max() - at.min()), len(leases)
    if closed is None:
        load = (getattr(tables, "meta", None) or {}).get("load") or {}
        closed = load.get("model") == "closed"
        if not scripted and closed_by_task(leases):
            leases, closed = leases.assign(client=leases["task"]), True
    if most_requests is not None and total > most_requests and not closed:
        leases, operations, statements = thin(leases, operations, statements, most_requests)
    recorded = read_demand(leases, operations, seed, closed)
    if recorded is None:
        return "no advice: no request of the run was seen from its beginning to its end"
    meta = getattr(tables, "meta", None) or {}
    probes = read_calibration(meta)
    recorded = with_probes(recorded, probes)
    known = all(demand.client is not None for demand in recorded.demands)
    if (closed and not known) or (not closed and not scripted and population_is_capped(leases, settings.capacity)):
        return CLOSED_WITHOUT_CLIENTS
    told = server.cores if server is not None else None
    use = machine_use(meta)
    cores = use.left if use is not None else float(told) if told else probes.cores if probes else None
    rules = rules_of(settings, threads=any(pool.pool_class == "QueuePool" for pool in getattr(tables, "pools", ())))
    engine, structure, cost = choose(recorded, statements, rules, cores)
    if rules.wake_s:
        cost = max(cost, 8.0)  # the full event loop
    search = Search(engine, goals, rules, cost)
    return Case(
        recorded.demands,
        recorded,
        search,
        settings,
        structure,
        scripted,
        total,
        duration_s,
        len(recorded.demands),
        server,
        seed=seed,
        floor=floor,
        use=use,
    )
