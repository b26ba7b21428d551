"""History: where in a series of runs something changed.

In: the evidence of runs over time. Out: a `Comparison` of the runs before the last change with those after it, for each
scenario. For what happened after the merge: it locates, and the gate before the merge decides. Knows no format.

E-divisive (Matteson & James 2014): the split with the greatest energy distance between the two parts, held against the
same of shuffled series; each part is then searched again. The distances within a part divide by n(n − 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from poolctl.analysis import stats
from poolctl.analysis.compare import EXITS, Declared
from poolctl.analysis.evidence import Evidence
from poolctl.analysis.phrases import percent, sentence
from poolctl.analysis.ratio import unpaired
from poolctl.analysis.stats import Floats
from poolctl.errors import UsageError
from poolctl.trace.comparison import Against, Comparison, Measure, Role
from poolctl.trace.report import Outcome

LEAST = 10
"""Runs below which a series says nothing."""
SEGMENT = 3
"""Runs on each side of a change, at least."""
SHUFFLES = 999


def locate(runs: Sequence[Evidence], declared: Declared | None = None, name: str = "history") -> Comparison:
    """Return where each scenario's p95 changed last, if it did. Raises UsageError where there is no run."""
    declared = declared or Declared()
    if not runs:
        raise UsageError("there is no run in the history", "give a directory of runs")
    ordered = sorted(runs, key=lambda run: (run.started_at, run.run))
    names = list(dict.fromkeys(run.scenario for run in ordered))
    found = [_scenario(name, [run for run in ordered if run.scenario == name], declared) for name in names]
    verdicts = [item.verdict for item in found]
    worst = next((one for one in (Outcome.FAIL, Outcome.INCONCLUSIVE) if one in verdicts), Outcome.PASS)
    said = "; ".join(f"{item.scenario}: {item.reason}" for item in found if item.verdict is worst)
    head = {Outcome.PASS: "No change for the worse", Outcome.FAIL: "Worse", Outcome.INCONCLUSIVE: "Cannot tell"}[worst]
    return Comparison(
        verdict=worst,
        summary=f"{head}: {said}.",
        exit_code=int(EXITS[worst]),
        margin=declared.margin,
        alpha=declared.alpha,
        looks=1,
        look=1,
        base=f"{name}, before the last change",
        head=f"{name}, since then",
        scenarios=found,
    )


def change_points(series: Floats, alpha: float, seed: int = 1) -> list[int]:
    """Return the indices at which a new level begins, ascending."""
    found: list[int] = []
    open_parts = [(0, len(series))]
    shuffle = np.random.default_rng(seed)
    while open_parts:
        first, last = open_parts.pop()
        split, value = _best(series[first:last])
        if split is None:
            continue
        part = series[first:last]
        beyond = sum(_best(shuffle.permutation(part))[1] >= value for _ in range(SHUFFLES))
        if (beyond + 1) / (SHUFFLES + 1) <= alpha:
            found.append(first + split)
            open_parts += [(first, first + split), (first + split, last)]
    return sorted(found)


def _best(part: Floats) -> tuple[int | None, float]:
    """The split with the greatest scaled energy distance, and that distance."""
    count = len(part)
    if count < 2 * SEGMENT:
        return None, 0.0
    apart = np.abs(part[:, None] - part[None, :])
    table = np.zeros((count + 1, count + 1))
    table[1:, 1:] = apart.cumsum(axis=0).cumsum(axis=1)
    splits = np.arange(SEGMENT, count - SEGMENT + 1)
    left, whole = table[splits, splits], table[count, count]
    between = table[splits, count] - left
    right = whole - left - 2 * between
    n, m = splits.astype(np.float64), count - splits.astype(np.float64)
    energy = 2 * between / (n * m) - left / (n * (n - 1)) - right / (m * (m - 1))
    scaled = n * m / (n + m) * energy
    best = int(np.argmax(scaled))
    return int(splits[best]), float(scaled[best])


def _scenario(name: str, runs: list[Evidence], declared: Declared) -> Against:
    left_out = [f"{run.run}: {run.broken or run.disturbed}" for run in runs if run.broken or run.disturbed]
    sound = [run for run in runs if not (run.broken or run.disturbed)]
    time = declared.primary or ("response" if all("response" in run.times for run in sound) else "hold")
    values = [(run, _p95(run, time)) for run in sound]
    series = [(run, value) for run, value in values if value]
    if len(series) < LEAST:
        reason = f"{len(series)} runs with a p95 of the {time}, a history needs {LEAST}"
        return Against(name, Outcome.INCONCLUSIVE, reason, False, [], [run.run for run in runs], [], left_out)
    logs = np.log([value for _, value in series])
    points = change_points(logs, declared.alpha)
    if not points:
        reason = f"the p95 {time} of {len(series)} runs stays on one level"
        return Against(name, Outcome.PASS, reason, False, [], [run.run for run, _ in series], [], left_out)
    return _against(name, time, [run for run, _ in series], logs, points, declared, left_out)


def _against(
    name: str, time: str, runs: list[Evidence], logs: Floats, points: list[int], declared: Declared, left_out: list[str]
) -> Against:
    begin, point = ([0, *points][-2], points[-1])
    before, since = logs[begin:point], logs[point:]
    found = unpaired(before.tolist(), since.tolist(), declared.alpha, declared.margin)
    worse = found.above(math.log1p(declared.margin))
    limits = None if found.low is None or found.high is None else (math.exp(found.low), math.exp(found.high))
    row = Measure(
        name=f"p95 {time}",
        role=Role.PRIMARY,
        unit="s",
        base=float(np.exp(before.mean())),
        head=float(np.exp(since.mean())),
        verdict=Outcome.FAIL if worse else Outcome.PASS,
        ratio=math.exp(found.log_ratio),
        ci=limits,
    )
    first = runs[point]
    edges = [0, *points]
    notes = [
        f"a change of {percent(math.expm1(float(logs[at:end].mean() - logs[start:at].mean())), sign=True)} at run "
        f"{runs[at].run} ({runs[at].started_at})"
        for start, at, end in zip(edges, points, points[1:], strict=False)
    ]
    was, now = runs[point - 1].surroundings, first.surroundings
    notes += [
        f"{key} changed there, too: {was.get(key, '—')} → {now.get(key, '—')}"
        for key in sorted({*was, *now})
        if was.get(key) != now.get(key)
    ]
    return Against(
        scenario=name,
        verdict=row.verdict,
        reason=f"{sentence(row)} since run {first.run} ({first.started_at})",
        paired=False,
        base_runs=[run.run for run in runs[begin:point]],
        head_runs=[run.run for run in runs[point:]],
        measures=[row],
        left_out=left_out,
        notes=notes,
    )


def _p95(run: Evidence, time: str) -> float | None:
    values = run.times.get(time)
    return None if values is None else stats.quantile(np.sort(values), 0.95)
