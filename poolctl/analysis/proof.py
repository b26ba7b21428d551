"""Proof: a recommendation held against runs at its own and other sizes, and corrected where it was wrong.

In: a sizing and what was measured. Out: which sizes to try, and the sizing as the measurements leave it. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from poolctl.analysis.objectives import parse
from poolctl.trace.report import PoolSettings, Report, Sizing, Verified
from poolctl.units import format_seconds, format_share

FURTHER = (2, 4, 8)
"""Connections beyond the recommendation that are tried where it and its neighbours miss the objective."""


def neighbours(sizing: Sizing) -> list[PoolSettings]:
    """Return what to try: the recommendation, one connection less, one more; and where none of them is predicted to
    miss the objective, the largest that is: predictions that cannot fail prove nothing. Empty without a recommendation.
    """
    best = sizing.recommended
    if best is None:
        return []
    size = best.pool_size or 1
    near = [best, *(replace(best, pool_size=step) for step in (size - 1, size + 1) if step >= 1)]
    predicted = {(p.pool_size, p.max_overflow): p.meets for p in sizing.predictions}
    if any(predicted.get((each.pool_size or 0, each.max_overflow or 0)) is False for each in near):
        return near
    missing = [pool_size for (pool_size, overflow), met in predicted.items() if met is False and overflow == 0]
    edge = max((each for each in missing if each < size), default=None)
    return near if edge is None else [*near, replace(best, pool_size=edge, max_overflow=0)]


def further(best: PoolSettings, tried: Sequence[Verified]) -> PoolSettings | None:
    """Return the next larger size to try; None where the recommendation was not found wrong, or one was found."""
    size = best.pool_size or 1
    if _met(tried, size) is not False or any(run.met and _size(run) > size for run in tried):
        return None
    seen = {_size(run) for run in tried}
    return next((replace(best, pool_size=size + more) for more in FURTHER if size + more not in seen), None)


def verified(sizing: Sizing, measured: Report) -> Verified:
    """Return a run beside its prediction. The run was judged by the objective of the sizing.

    What was measured on one tape is held against the limit as it is: how another tape would do is another question.
    """
    settings = measured.target.settings
    pair = (settings.pool_size, settings.max_overflow)
    predicted = next((p for p in sizing.predictions if (p.pool_size, p.max_overflow) == pair), None)
    return Verified(
        run_id=measured.run.id,
        settings=settings,
        predicted=predicted,
        measured_wait_time_s=measured.times.wait_time_s,
        measured_timeout_rate=measured.leases.timed_out / max(measured.leases.total, 1),
        met=_held(measured),
    )


def _held(measured: Report) -> bool | None:
    """Whether the objectives were met; None where the run itself does not count, or a value is missing."""
    if any(not check.ok for check in measured.validity) or not measured.objectives:
        return None
    held = [
        None if result.value is None else parse(result.objective).holds(result.value) for result in measured.objectives
    ]
    return False if False in held else None if None in held else True


def concluded(sizing: Sizing, tried: Sequence[Verified]) -> Sizing:
    """Return the sizing with what was measured, and another recommendation where that was wrong."""
    made = replace(sizing, measured=list(tried), notes=[*sizing.notes, *_found(tried)])
    best = sizing.recommended
    if best is None:
        return made
    size = best.pool_size or 1
    if not _wrong(tried, size):
        return replace(made, verified=_of(tried, size))
    enough = sorted({_size(run) for run in tried if _size(run) > size and _met(tried, _size(run))})
    missed = f"pool_size {size} was predicted to do, and missed the objective when it was run ({_said(tried, size)})"
    if not enough:
        return replace(
            made,
            recommended=None,
            confidence="none",
            reason=f"no size that was tried meets the objective: {missed}",
            corrected=missed,
            no_size=True,
            verified=_of(tried, size),
        )
    return replace(
        made,
        recommended=replace(best, pool_size=enough[0]),
        confidence="low" if sizing.confidence == "low" else "medium",
        corrected=f"corrected: {missed}; {enough[0]} met it ({_said(tried, enough[0])})",
        verified=_of(tried, enough[0]),
    )


def _wrong(tried: Sequence[Verified], size: int) -> bool:
    """Whether the size missed the objective; one that was not run, whether the next larger one did."""
    if any(_size(run) == size for run in tried):
        return _met(tried, size) is False
    above = sorted({_size(run) for run in tried if _size(run) > size})
    return bool(above) and _met(tried, above[0]) is False


def _found(tried: Sequence[Verified]) -> list[str]:
    """Say what the smallest size that met the objective was, and what had been predicted of those sizes."""
    sizes = sorted({_size(run) for run in tried})
    if not sizes:
        return []
    met = [size for size in sizes if _met(tried, size)]
    predicted = sorted({_size(run) for run in tried if run.predicted and run.predicted.meets})
    known = any(run.predicted is not None for run in tried)
    listed = ", ".join(map(str, sizes))
    said = f"measured at pool_size {listed}: {met[0] if met else 'none'} is the smallest that met the objective"
    return [f"{said}; predicted of these: {predicted[0] if predicted else 'none'}" if known else said]


def _size(run: Verified) -> int:
    return run.settings.pool_size or 0


def _met(tried: Sequence[Verified], size: int) -> bool | None:
    """Whether every run at this size met the objective; None where there is none, or one cannot tell."""
    verdicts = {run.met for run in tried if _size(run) == size}
    return False if False in verdicts else None if None in verdicts or not verdicts else True


def _of(tried: Sequence[Verified], size: int) -> Verified | None:
    runs = [run for run in tried if _size(run) == size]
    return next((run for run in runs if run.met is False), runs[0] if runs else None)


def _said(tried: Sequence[Verified], size: int) -> str:
    run = _of(tried, size) or next(run for run in sorted(tried, key=_size) if _size(run) > size)
    wait = format_seconds(run.measured_wait_time_s.p95)
    return f"p95 wait {wait}, {format_share(run.measured_timeout_rate)} timeouts"
