"""Judgement: how far a recommendation may be believed, in words.

In: the case and what the searches found. Out: confidence, the reason, and notes on what the advice holds for and what
it does not. Computes no sizes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from poolctl.analysis.limits import NEAR, Limits
from poolctl.analysis.regime import LONG_ENOUGH_S, Regime
from poolctl.analysis.search import HEADROOM
from poolctl.trace.report import Backtest, Prediction
from poolctl.units import format_seconds, format_share

if TYPE_CHECKING:
    from poolctl.analysis.case import Case
    from poolctl.analysis.sizing import Found

GOOD = 0.25
"""Error of the backtest beyond which there is doubt."""


def beyond_any_pool(bound: Limits) -> str | None:
    """Return why no pool size helps, or None."""
    if bound.database >= 1:
        return (
            f"no pool size fixes this: the requests bring {bound.database:.2f} × the SQL work that the cores can "
            "do; more connections only move the queue into the database"
        )
    if bound.lock >= 1:
        return (
            f"no pool size fixes this: one row lock is wanted {bound.lock:.2f} of the time; more connections only wait "
            "for it inside the database"
        )
    return None


def disturbed(case: Case) -> str:
    """Say that others used the machine, on which its holds depend."""
    use = case.use
    cores, others = (use.cores, use.others) if use else (0.0, 0.0)
    used = f"something else used {others:.2f} of the machine's {cores:.3g} cores meanwhile"
    return f"no advice: {used}, and these holds need CPU: record again when it is quiet"


def moved_into_the_database(case: Case, useful: int) -> str:
    """Say that the goal is missed at every size that makes sense."""
    return (
        f"no pool size fixes this: the objective is missed with {case.search.most} connections too; beyond {useful}, "
        "more of them only move the queue into the database"
    )


def reason(case: Case, found: Found) -> str:
    """Say in one sentence why this size."""
    each = " per process" if case.processes > 1 else ""
    resampled = f", {found.likely} in nine of ten runs like this one" if found.resampled else ""
    more = f"{HEADROOM - 1:.0%} more {'clients' if case.closed else 'arrivals'}"
    met = f"{found.least} meets the objective on the recorded arrivals, {found.roomy or 'no size'} with {more}"
    if found.capped:
        met += f" (beyond {found.useful} the queue only moves into the database)"
    return f"pool_size {found.size}{each}: {met}{resampled}"


def confidence(case: Case, found: Found, tested: Backtest) -> str:
    """high needs a run that is long, long enough for its own traffic, a good backtest and a narrow interval."""
    from poolctl.analysis.sizing import upper

    low, high = upper(found.resampled, 0.05) or 1, upper(found.resampled, 0.95) or 1
    doubts = [
        not found.regime.enough,
        tested.error is not None and tested.error > GOOD,
        high - low > max(2, 0.4 * high),
        case.requests < 299,
        fragile(found) or found.capped,
        unseen_contention(case, found),
        case.floor > 1,
        case.use is not None and case.use.disturbed,
    ]
    short = found.regime.duration_s < LONG_ENOUGH_S or case.requests < 2_995
    return "low" if sum(doubts) > 1 else "medium" if any(doubts) or short else "high"


def fragile(found: Found) -> bool:
    """Whether SQL that is 10 % slower would need more than the recommended size."""
    return 1.1 in found.slower and (found.slower[1.1] is None or found.slower[1.1] > found.size)


def unseen_contention(case: Case, found: Found) -> bool:
    """Whether the recommended size may run more SQL at once than the run ever did, on cores nobody knows."""
    structure = case.structure
    if structure is None or structure.cores_known != "unknown" or structure.sql_share < 0.2:
        return False
    return found.size * len(case.demands) * structure.sql_share > 1.2 * structure.peak_active


def valid_for(case: Case, regime: Regime) -> str:
    """Say for which traffic the answer holds."""
    whose = "the scenario's own arrivals" if case.scripted else "the traffic of this recording"
    traffic = f"{case.requests:,} requests in {format_seconds(regime.duration_s)}"
    scale = f"index of dispersion {regime.burstiness:.1f} over {format_seconds(regime.scale_s)}"
    return f"valid for {whose} only: {traffic}, {scale}"


def notes(case: Case, found: Found, predictions: list[Prediction]) -> list[str]:
    """Say what the advice holds for, and what it does not."""
    from poolctl.analysis.sizing import upper

    regime = found.regime
    said = [f"what if: {case.supposed}"] if case.supposed else []
    said.append(valid_for(case, regime))
    said += [f"the run is short for its traffic: {each}" for each in regime.reasons]
    if case.recorded.requests < case.requests:
        said.append(f"sized on {case.recorded.requests:,} of the requests, in windows spread over the run")
    if found.resampled:
        low, high = upper(found.resampled, 0.05), upper(found.resampled, 0.95)
        said.append(f"90 % of the resamples of this run ask for {low} to {high} connections")
    if found.by_goal:
        asked = ", ".join(f"{text}: {'no size' if size is None else size}" for text, size in found.by_goal.items())
        said.append(f"smallest size for each objective alone: {asked}")
    if case.floor > 1:
        said.append(
            f"tasks hold several connections at once: with fewer than {case.floor} they can block each other for good, "
            "and the model knows nothing of it: verify with a run"
        )
    if case.use is not None and case.use.disturbed:
        said.append(f"something else used {case.use.others:.2f} of the machine's {case.use.cores:.3g} cores meanwhile")
    if case.closed:
        said.append("clients that wait for each answer are replayed with the pauses they made, not with their instants")
    if case.recorded.skipped:
        said.append(f"{case.recorded.skipped} operations that the generator never started are part of the demand")
    if case.recorded.other_pools:
        said.append(f"{case.recorded.other_pools} leases of other pools are not part of it")
    if case.processes != len(case.demands):
        said.append(
            f"sized for the arrivals that each of {len(case.demands)} recorded processes had, not for {case.processes}"
        )
    return said + notes_on_model(case) + _notes_on_limits(case, found, predictions)


def notes_on_model(case: Case) -> list[str]:
    """Say which model spoke and what it was fitted to."""
    from poolctl.analysis.engines import Structural

    structure = case.structure
    if not isinstance(case.search.engine, Structural) or structure is None:
        if structure is None:
            return ["holds are replayed as recorded: no statements say whether they grow with concurrency"]
        return ["holds are replayed as recorded: they do not grow with concurrency in this run"]
    cores = structure.database.cores
    server = "no contention for cores seen" if math.isinf(cores) else f"{cores:.3g} cores ({structure.cores_known})"
    sql = (
        f"SQL is {format_share(structure.sql_share)} of the hold and took {structure.slowed:.2f} × its work in the run"
    )
    said = [f"holds answer to concurrency: {server}, {sql}"]
    said += [
        f"transactions of one site pass one at a time (statement {each.place + 1} takes a lock): {each.observed} of "
        f"{each.expected:.0f} expected overtakings"
        for each in structure.stations
    ]
    return said


def _notes_on_limits(case: Case, found: Found, predictions: list[Prediction]) -> list[str]:
    bound, said = found.limits, []
    load = max(bound.database, bound.lock)
    what = "the database" if bound.database >= bound.lock else "a row lock"
    if load >= NEAR / HEADROOM:
        said.append(f"{what} is {format_share(load)} busy: near its limit small changes decide, take this as a band")
    if found.slower:
        asked = ", ".join(
            f"{factor - 1:.0%} slower SQL: {'no size' if size is None else size}"
            for factor, size in found.slower.items()
        )
        said.append(asked + (" (fragile: verify with a run)" if fragile(found) else ""))
    if unseen_contention(case, found):
        unknown = "the database's cores are not known"
        said.append(f"{unknown}, and this size may run more SQL at once than the run did: verify with a run")
    responses = {p.pool_size: p.response_time_s.mean for p in predictions if p.max_overflow == 0 and p.response_time_s}
    mean = responses.get(found.size)
    best = min(responses, key=lambda size: responses[size] or math.inf, default=None)
    if mean and best is not None and best < found.size and mean > 1.1 * (responses[best] or mean):
        said.append(
            f"waiting less here means waiting in the database: wait + hold averages {format_seconds(mean)}, "
            f"at {best} connections {format_seconds(responses[best])}"
        )
    return said
