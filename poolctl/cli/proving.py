"""Runs that prove a prediction: the recommendation with its neighbours, or a ladder of sizes in turns.

In: a plan, a way to make a run, a report with predictions. Out: the report with predicted beside measured, and the
recommendation corrected where it was wrong. What `--verify` and `--sweep` do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from poolctl.analysis import proof
from poolctl.cli import streams
from poolctl.errors import Exit
from poolctl.load.plan import LoadPlan
from poolctl.report.sentences import size
from poolctl.target.spec import OVERRIDES
from poolctl.trace.report import PoolSettings, Report, Sizing, Verified

Record = Callable[[LoadPlan, str], Report]
"""Makes one run under this title and returns its report, judged by the plan's objectives."""


def verify(plan: LoadPlan, report: Report, record: Record) -> Report:
    """Run the same tape at the recommended settings and at those beside them; return the report with the outcome.

    Where the recommendation misses its objective, larger ones are tried until one meets it.
    """
    sizing = report.sizing
    best = sizing.recommended if sizing else None
    if sizing is None or best is None:
        streams.say("note: nothing to verify: there is no recommendation")
        return report
    queue = proof.neighbours(sizing)

    def following(tried: Sequence[Verified]) -> PoolSettings | None:
        return queue[len(tried)] if len(tried) < len(queue) else proof.further(best, tried)

    return _tried(plan, report, sizing, [], following, record)


def turns(sizes: Sequence[int], rounds: int) -> list[int]:
    """Return the order in which the sizes are run: the roomiest first, then there and back in turns.

    So drift of the machine meets small and large sizes alike. The model is fitted to the first run.
    """
    down = sorted(sizes, reverse=True)
    order: list[int] = []
    for number in range(rounds):
        order += down if number % 2 == 0 else down[::-1]
    return order


def sweep(plan: LoadPlan, report: Report, first: Report, rest: Sequence[int], record: Record) -> Report:
    """Run the same tape at the `rest` of the sizes and return the report with what was measured at all of them.

    `report` is that of the first run, `first` the same judged by the objective of its sizing.
    """
    sizing = report.sizing
    if sizing is None:
        return report
    queue = [dataclasses.replace(report.target.settings, pool_size=number) for number in rest]

    def following(tried: Sequence[Verified]) -> PoolSettings | None:
        return queue[len(tried) - 1] if len(tried) <= len(queue) else None

    return _tried(plan, report, sizing, [proof.verified(sizing, first)], following, record)


def _tried(
    plan: LoadPlan,
    report: Report,
    sizing: Sizing,
    tried: list[Verified],
    following: Callable[[Sequence[Verified]], PoolSettings | None],
    record: Record,
) -> Report:
    """Run what is `following`, until there is nothing or the user or the server ends it; what was run counts."""
    code = report.exit_code
    while (settings := following(tried)) is not None:
        try:
            measured = record(_again(plan, report, sizing, settings), f"{plan.found.name} at {size(settings)}")
        except KeyboardInterrupt:  # before anything was recorded
            code = Exit.INTERRUPTED
            break
        if measured.exit_code in (Exit.INTERRUPTED, Exit.TARGET):
            code = measured.exit_code
            break
        tried.append(proof.verified(sizing, measured))
    made = proof.concluded(sizing, tried) if tried else sizing
    return dataclasses.replace(report, sizing=made, exit_code=int(code))


def _again(plan: LoadPlan, report: Report, sizing: Sizing, settings: PoolSettings) -> LoadPlan:
    changes = {name: getattr(settings, name) for name in OVERRIDES if getattr(settings, name) is not None}
    return dataclasses.replace(
        plan,
        target=plan.target.with_pool(**changes),
        objectives=tuple(sizing.objective.split(" and ")),
        part_of=report.run.id,
    )
