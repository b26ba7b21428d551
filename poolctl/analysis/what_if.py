"""What if: a case with something supposed: more arrivals, slower SQL, shorter holds at a site, other processes.

In: a case and a supposition. Out: the case as it would be. Everything that sizes and predicts takes it like a
recorded one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from poolctl.analysis.case import Case
from poolctl.analysis.demand import Demand
from poolctl.analysis.engines import Structural
from poolctl.analysis.growth import grow
from poolctl.analysis.pool_rules import Floats
from poolctl.analysis.structure import Structure
from poolctl.errors import UsageError
from poolctl.trace.report import ServerInfo


@dataclass(frozen=True)
class Supposition:
    """What is supposed. The defaults suppose nothing."""

    arrivals: float = 1.0
    """Factor on the arrivals; duplicated with a jitter (or left out at random below 1), never compressed in time."""
    sql: float = 1.0
    """Factor on all SQL work; 2: twice as slow."""
    holds: Mapping[str, float] = field(default_factory=dict)
    """Factor on the holds of every site whose text (`file:line function`) or context contains the key."""
    idle: Mapping[str, float] = field(default_factory=dict)
    """Factor on the idle part of the holds of such sites; 0: the connection is held only while the database works."""
    processes: int | None = None
    """The same arrivals dealt out to so many processes."""
    server_connections: int | None = None
    """What the server would allow to all pools together."""

    def __str__(self) -> str:
        parts = [
            f"arrivals × {self.arrivals:g}" if self.arrivals != 1 else "",
            f"SQL × {self.sql:g}" if self.sql != 1 else "",
            *(f"holds of {site} × {factor:g}" for site, factor in self.holds.items()),
            *(f"idle part of the holds of {site} × {factor:g}" for site, factor in self.idle.items()),
            f"{self.processes} processes" if self.processes else "",
            f"{self.server_connections} connections allowed" if self.server_connections is not None else "",
        ]
        return ", ".join(part for part in parts if part)


def suppose(case: Case, what: Supposition) -> Case:
    """Return the case as supposed. Raises UsageError for what the run cannot say."""
    factors = (what.arrivals, what.sql, *what.holds.values(), 1 if what.processes is None else what.processes)
    if min(factors) <= 0 or min(what.idle.values(), default=0.0) < 0:
        raise UsageError("what-if factors must be greater than 0", "1.5 means half as much again")
    demands, structure, engine = case.demands, case.structure, case.search.engine
    if what.holds or what.idle:
        demands, structure = _shorter(case, what.holds, what.idle)
    if what.sql != 1:
        if structure is None:
            raise UsageError("the run has no statements to slow down", "record it again with poolctl's own capture")
        engine = Structural(structure, what.sql)
    elif isinstance(engine, Structural) and structure is not None:
        engine = replace(engine, structure=structure)
    if what.arrivals != 1:
        random = np.random.default_rng([case.seed, 57])
        demands = [_more_or_fewer(demand, what.arrivals, random) for demand in demands]
    if what.processes and what.processes != len(demands):
        demands = _dealt(demands, what.processes, case.seed)
    server = case.server
    if what.server_connections is not None:
        limit = what.server_connections
        server = replace(server or ServerInfo(), max_connections=limit, reserved_connections=0, in_use=0)
    cost = 10.0 if isinstance(engine, Structural) else case.search.cost
    return replace(
        case,
        demands=demands,
        structure=structure,
        search=replace(case.search, engine=engine, cost=cost),
        processes=what.processes or case.processes,
        server=server,
        supposed=str(what),
    )


def _more_or_fewer(demand: Demand, factor: float, random: np.random.Generator) -> Demand:
    if factor >= 1:
        return grow(demand, factor, random)
    kept = random.random(len(demand.at_s)) < factor
    return replace(demand.blank(), at_s=demand.at_s[kept], mark=demand.mark[kept])


def _dealt(demands: list[Demand], processes: int, seed: int) -> list[Demand]:
    """Put all arrivals together and deal them out at random, as a load balancer without memory would."""
    if any(demand.client is not None for demand in demands):
        raise UsageError(
            "clients in a loop cannot be dealt out to other processes", "record a run with those processes"
        )
    at = np.concatenate([demand.at_s for demand in demands])
    mark = np.concatenate([demand.mark for demand in demands])
    order = np.argsort(at, kind="stable")
    to = np.random.default_rng([seed, 61]).integers(0, processes, len(at))
    return [
        replace(
            demands[0].blank(), process=number, at_s=at[order][to == number], mark=mark[order][to == number], warm=0
        )
        for number in range(processes)
    ]


def _shorter(
    case: Case, holds: Mapping[str, float], idle: Mapping[str, float]
) -> tuple[list[Demand], Structure | None]:
    rows, marks = case.recorded.rows, case.demands[0].marks
    factor, kept = _factors(rows, holds), _factors(rows, idle)
    unused = rows["idle_in_hold_s"].fillna(0.0).to_numpy() if "idle_in_hold_s" in rows else np.zeros(len(rows))
    shorter = np.maximum(marks.hold_s - (1 - kept) * unused, 0.0) if idle else marks.hold_s
    changed = replace(marks, hold_s=shorter * factor)
    demands = [replace(demand, marks=changed) for demand in case.demands]
    structure = case.structure
    if structure is not None:
        programs = structure.programs
        lengths = np.diff(programs.first)
        # A program's steps alternate: idle, SQL, idle, …
        between = (np.arange(len(programs.steps)) - np.repeat(programs.first[:-1], lengths)) % 2 == 0
        steps = programs.steps * np.repeat(factor, lengths) * np.where(between, np.repeat(kept, lengths), 1.0)
        structure = replace(structure, programs=replace(programs, steps=steps))
    return demands, structure


def _factors(rows: pd.DataFrame, by_site: Mapping[str, float]) -> Floats:
    """Return the factor of every row. Raises UsageError for a site that the run has not."""
    factor = np.ones(len(rows))
    for site, by in by_site.items():
        names = [rows[column].astype(str) for column in ("site", "context") if column in rows]
        found = np.logical_or.reduce([name.str.contains(site, regex=False).to_numpy() for name in names])
        if not found.any():
            raise UsageError(f"no site or context of the run contains {site!r}", "the hold-time table lists them")
        factor[found] *= by
    return factor
