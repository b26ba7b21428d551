"""Validity: can this run be trusted at all?

In: a View of a load test (or of a watched target: then only capture can fail). Out: what the generator did, and one
check after the other, each with its number and its limit. A run that fails one is inconclusive, whatever it measured: a
generator that starts late, a record with holes, a run that was cut off.
"""

from __future__ import annotations

import math

import numpy as np

from poolctl.analysis import stats
from poolctl.analysis.breakdown import time_values
from poolctl.analysis.view import View
from poolctl.trace.report import LoadInfo, ValidityCheck
from poolctl.units import format_rate, format_seconds, format_share

LAG_S = 0.002
LAG_SHARE = 0.05
"""p99 start lag: at most LAG_S, or this share of the p95 response time where that is more."""
BOUND_FACTOR = 10
"""Lag beyond the limit is a disturbance, which makes a close call impossible; this many times the limit, it is the
generator that was measured, and nothing can be told."""
CPU = 0.80
ACHIEVED = 0.99
LITTLE = 0.05
LITTLE_ABSOLUTE = 0.1
"""Connections. Differences below this are the edges of the window."""


def load_info(view: View) -> LoadInfo | None:
    """Return what the generator offered and did; None without one."""
    operations = view.tables.operations
    plan = view.tables.meta.get("load") or {}
    if operations.empty and not plan:
        return None
    ran = operations[operations["outcome"] != "skipped"]
    last = float(ran["started_at_s"].max()) if len(ran) else 0.0
    duration = max(float(plan.get("duration_s") or view.tables.meta.get("duration_s") or 0.0), 1e-9)
    window = max(min(duration, view.length_s), last, 1e-9)
    achieved = len(ran) / window
    arrivals = int(plan.get("arrivals") or 0) or len(operations)
    offered = float(plan.get("offered_per_s") or 0.0) or arrivals / duration
    return LoadInfo(
        offered_per_s=achieved if plan.get("model") == "closed" else offered,
        achieved_per_s=achieved,
        arrivals=len(operations) if plan.get("model") == "closed" else arrivals,
        skipped=int((operations["outcome"] == "skipped").sum()),
        start_lag_s=stats.dist(time_values(view, "lag")),
        loop_cpu=_loop_cpu(view),
    )


def checks(view: View, load: LoadInfo | None) -> list[ValidityCheck]:
    """Return every check that this kind of run allows."""
    found: list[ValidityCheck | None] = [_complete(view), _capture(view)]
    if load is not None:
        found += [_whole_cycle(view), _lag(view), _cpu(load), _achieved(view, load), _skipped(load), _little(view)]
    return [check for check in found if check is not None]


def why_invalid(found: list[ValidityCheck]) -> str:
    """Return in one sentence why the run cannot be trusted; empty when it can."""
    failed = [check.detail for check in found if not check.ok]
    return f"the run does not count: {'; '.join(failed)}" if failed else ""


def bottlenecks(found: list[ValidityCheck]) -> list[ValidityCheck]:
    """Return the checks that show the generator as the bottleneck: then nothing that was measured is about the pool."""
    failed = [check for check in found if not check.ok and check.check in GENERATOR]
    return [check for check in failed if check.check != START_LAG or _far_off(check)]


def _far_off(check: ValidityCheck) -> bool:
    return check.value is not None and check.limit is not None and check.value > BOUND_FACTOR * check.limit


COMPLETE, CAPTURED, WHOLE_CYCLE, START_LAG, LOOP_CPU, OFFERED, SKIPPED, LITTLES_LAW = (
    "completed",
    "capture complete",
    "whole cycle",
    "start lag",
    "loop CPU",
    "achieved ÷ offered",
    "skipped operations",
    "Little's law",
)
GENERATOR = (START_LAG, LOOP_CPU, OFFERED)
"""Checks that fail when the generator itself is the bottleneck."""


def _complete(view: View) -> ValidityCheck:
    end = str(view.tables.meta.get("end") or "completed")
    detail = {"target lost": "the server was lost", "worker died": "a worker died"}.get(end, f"the run was {end}")
    return ValidityCheck(COMPLETE, end == "completed", None, None, detail)


def _capture(view: View) -> ValidityCheck:
    lost, seen = view.tables.capture.dropped, view.tables.capture.events
    detail = f"{lost:,} of {lost + seen:,} records were lost" if lost else f"all {seen:,} records are there"
    return ValidityCheck(CAPTURED, lost == 0, float(lost), 0.0, detail)


def _whole_cycle(view: View) -> ValidityCheck | None:
    """A bursty load that ended before its first burst says nothing about the burst."""
    cycle = float((view.tables.meta.get("load") or {}).get("cycle_s") or 0.0)
    duration = float(view.tables.meta.get("duration_s") or 0.0)
    if not cycle or not duration:
        return None
    detail = f"work arrived for {format_seconds(duration)}, one cycle of the arrivals takes {format_seconds(cycle)}"
    return ValidityCheck(WHOLE_CYCLE, duration >= cycle, duration, cycle, detail)


def _lag(view: View) -> ValidityCheck | None:
    lag, response = np.sort(time_values(view, "lag")), np.sort(time_values(view, "response"))
    closed = (view.tables.meta.get("load") or {}).get("model") == "closed"
    if not len(lag) or closed:  # a client of a closed loop that starts late has thought for longer, and that is all
        return None
    # The p99 where there are samples enough for one: the largest of seventy says nothing about the other sixty-nine.
    quantile = next((q for q in (0.99, 0.95) if len(lag) >= stats.needed(q)), 0.5)
    late = float(lag[math.ceil(quantile * len(lag)) - 1])
    limit = max(LAG_S, LAG_SHARE * float(response[math.ceil(0.95 * len(response)) - 1]))
    detail = (
        f"operations started {format_seconds(late)} late (p{quantile * 100:g}), at most {format_seconds(limit)} may be"
    )
    return ValidityCheck(START_LAG, late <= limit, late, limit, detail)


def _cpu(load: LoadInfo) -> ValidityCheck | None:
    if load.loop_cpu is None:
        return None
    detail = f"the generator's loop used {format_share(load.loop_cpu)} of a core, at most {format_share(CPU)} may be"
    return ValidityCheck(LOOP_CPU, load.loop_cpu < CPU, load.loop_cpu, CPU, detail)


def _loop_cpu(view: View) -> float | None:
    samples = view.tables.samples
    if samples.empty:
        return None
    sums = samples.groupby("process")[["cpu_s", "wall_s"]].sum()
    shares = sums["cpu_s"] / sums["wall_s"].where(sums["wall_s"] > 0)
    return float(shares.max()) if shares.notna().any() else None


def _achieved(view: View, load: LoadInfo) -> ValidityCheck | None:
    plan = view.tables.meta.get("load") or {}
    if plan.get("model") == "closed" or view.tables.meta.get("end") not in (None, "completed"):
        return None
    share = load.achieved_per_s / load.offered_per_s if load.offered_per_s else 1.0
    detail = f"{format_rate(load.achieved_per_s)} were started of {format_rate(load.offered_per_s)} offered"
    return ValidityCheck(OFFERED, share >= ACHIEVED, share, ACHIEVED, detail)


def _skipped(load: LoadInfo) -> ValidityCheck:
    detail = f"{load.skipped:,} operations were never started: too many were in flight"
    return ValidityCheck(SKIPPED, load.skipped == 0, float(load.skipped), 0.0, detail if load.skipped else "none")


def _little(view: View) -> ValidityCheck | None:
    """L = λ·W over the holds: it fails where ends are missing or the window cuts through the holds it is made of.

    Not for a watched application: its window cuts through whatever goes on, and that is no fault of the run.
    """
    starts, ends = view.held
    counted = ~view.leaked
    present, expected = stats.littles_law(*_clean(starts[counted], ends[counted]), view.length_s)
    if present <= 0:
        return None
    off = abs(present - expected)
    detail = f"{present:.2f} connections were held on average, the finished holds make {expected:.2f}"
    return ValidityCheck(LITTLES_LAW, off <= max(LITTLE * present, LITTLE_ABSOLUTE), off / present, LITTLE, detail)


def _clean(starts: stats.Floats, ends: stats.Floats) -> tuple[stats.Floats, stats.Floats]:
    began = ~np.isnan(starts)
    return starts[began], ends[began]
