"""Evidence: what one run brings to a comparison.

In: a recorded run, the policy. Out: `Evidence`: the samples of each time in order, hits and candidates of each event,
numbers a lease, the places that hold a connection across other work, why the run does not count, and the surroundings
it was made in. Compares nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from poolctl.analysis import gate, stats, validity
from poolctl.analysis.breakdown import time_values
from poolctl.analysis.leases import Tables, tables
from poolctl.analysis.stats import Floats
from poolctl.analysis.summary import target_of
from poolctl.analysis.view import View, looked_around
from poolctl.policy import Policy
from poolctl.trace.run import Run

TIMES = ("response", "acquire", "wait", "hold", "sql")
EVENTS = ("timeouts", "errors", "leaks")
STEADY = ("Poisson", "clients in a loop")
"""How arrivals describe themselves (run.json) that have a steady phase, so that a warm-up can be cut off."""
FOREIGN_ACTIVE = 1.0
"""Sessions of others that may be active at once, on average, in a database that is steady."""
OURS = "poolctl"
"""How the load's own sessions are named; where none is, nobody can tell others from them."""


@dataclass(frozen=True, slots=True)
class Count:
    """An event: so many of so many."""

    hits: int
    of: int
    tau: float = 1.0
    """Candidates that are worth one independent one (`stats.inflation`)."""


@dataclass(frozen=True, slots=True)
class Average:
    """A number a lease, or a lease's share of something."""

    mean: float
    error: float
    """Standard error within the run."""


@dataclass(frozen=True)
class Evidence:
    """One run."""

    run: str
    scenario: str
    tape: str | None
    started_at: str
    times: Mapping[str, Floats]
    """Samples in the order of the requests, in seconds."""
    counts: Mapping[str, Count] = field(default_factory=dict)
    averages: Mapping[str, Average] = field(default_factory=dict)
    nested: frozenset[str] = frozenset()
    """Functions that asked for a connection while their task held one."""
    idle: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Transaction or function -> (share of its hold that is idle, mean idle time a lease in seconds)."""
    steady: bool = False
    """The arrivals have a steady phase."""
    disturbed: str = ""
    """Why its times do not count; empty: they do."""
    broken: str = ""
    """Why nothing of it counts (records lost, cut off); empty: it does."""
    surroundings: Mapping[str, str] = field(default_factory=dict)
    """Machine, versions, scenario: what has to be the same for a fair comparison."""


def evidence(run: Run, policy: Policy | None = None) -> Evidence:
    """Return what the run brings. Raises InputError when it cannot be read."""
    made = tables(run)
    view = View(made, target_of(made), policy or Policy(), **looked_around(run.path))
    load = validity.load_info(view)
    failed = [check for check in validity.checks(view, load) if not check.ok]
    fatal = [check.detail for check in failed if check.check in (validity.COMPLETE, validity.CAPTURED)]
    other = [check.detail for check in failed if check.check not in (validity.COMPLETE, validity.CAPTURED)]
    source: dict[str, Any] = made.meta.get("source") or {}
    return Evidence(
        run=run.id,
        scenario=str(made.meta.get("scenario") or made.meta.get("command") or "?"),
        tape=made.meta.get("tape"),
        started_at=str(made.meta.get("started_at") or ""),
        times={name: values for name in TIMES if len(values := time_values(view, name))},
        counts={name: _count(view, name) for name in EVENTS},
        averages=_averages(view),
        nested=_nested(view),
        idle=_idle(view),
        steady=any(word in str(source.get("arrivals") or "") for word in STEADY),
        disturbed="; ".join([*other, *_unsteady(view)]),
        broken="; ".join(fatal),
        surroundings=surroundings(made.meta),
    )


def surroundings(meta: Mapping[str, Any]) -> dict[str, str]:
    """Return what run.json says of where and how the run was made, by name: the fingerprint of a baseline."""
    said: dict[str, Any] = {}
    source, load = meta.get("source") or {}, meta.get("load") or {}
    server = (meta.get("target") or {}).get("server") or {}
    said |= {f"machine {key}": value for key, value in (meta.get("machine") or {}).items()}
    said |= {f"version of {key}": value for key, value in (meta.get("versions") or {}).items()}
    said["server version"] = server.get("version")
    said["scenario file"] = str(source.get("sha256") or "")[:12] or None
    said["model of the load"] = load.get("model")
    said["arrivals"] = source.get("arrivals")
    said["rate"], said["duration (s)"] = meta.get("rate"), meta.get("duration_s")
    said["processes"] = meta.get("processes")
    return {key: str(value) for key, value in said.items() if value is not None}


def _count(view: View, name: str) -> Count:
    hits, _ = gate.HAPPENED[name](view)
    return Count(int(hits.sum()), len(hits), stats.inflation(hits) if hits.any() else 1.0)


def _averages(view: View) -> dict[str, Average]:
    """Numbers a finished lease: its statements, its round trips (begin and end of transactions and pings included)."""
    done = view.ended("returned")
    if not done.any():
        return {}
    statements = np.asarray(view.whole("statements"), dtype=np.float64)
    trips: Floats = statements + _control(view.tables, view) + (np.nan_to_num(view.column("ping_time_s")) > 0)
    fresh = view.tables.leases["fresh"].to_numpy(dtype=np.bool_)[view.order]
    hits, of = float(fresh[view.acquired].sum()), int(view.acquired.sum())
    return {
        "statements": _average(statements[done]),
        "round trips": _average(trips[done]),
        "connects": Average(1000 * hits / of, 1000 * math.sqrt(max(hits, 1.0) * stats.inflation(fresh)) / of),
    }


def _average(values: Floats) -> Average:
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Average(float(values.mean()), spread * math.sqrt(stats.inflation(values) / len(values)))


def _control(made: Tables, view: View) -> Floats:
    """Commits and rollbacks of each lease, in the order of the requests."""
    frame = made.statements
    sent = frame[frame["control"].to_numpy(dtype=np.bool_)].groupby(["process", "lease"], observed=True).size()
    leases = made.leases
    keys = list(zip(leases["process"].tolist(), leases["lease"].tolist(), strict=True))
    found: Floats = np.asarray(sent.reindex(keys, fill_value=0), dtype=np.float64)
    return found[view.order]


def _nested(view: View) -> frozenset[str]:
    site, names = view.codes("site")
    return frozenset(_function(names[number]) for number in np.unique(site[view.nested]) if number >= 0)


def _function(site: str) -> str:
    """Return a site without its line, which moves with every edit, and without the directory of its checkout."""
    place, _, function = site.rpartition(" ")
    return f"{Path(place.rpartition(':')[0]).name} {function}".strip()


def _idle(view: View) -> dict[str, tuple[float, float]]:
    found = {}
    for row in view.sites:
        hold = row.hold_time_s
        if row.sql_share is not None and hold.mean is not None and row.leases >= 20:
            found[row.context or _function(row.site)] = (1 - row.sql_share, (1 - row.sql_share) * hold.mean)
    return found


def _unsteady(view: View) -> list[str]:
    """Say when others worked in the database meanwhile."""
    counts = [
        sample["active_others"]
        for sample in view.server_samples
        if "active_others" in sample and any(name.startswith(OURS) for name in sample.get("applications") or ())
    ]
    if counts and float(np.mean(counts)) >= FOREIGN_ACTIVE:
        return [f"the database was not steady: {np.mean(counts):.1f} sessions of others were active on average"]
    return []
