"""Runs with a known truth: an open-loop M/G/c pool, its evidence as a recorded run would give it.

In: utilisation, what is different about this side. Out: `Evidence`. The truth of two sides with the same arguments is
that nothing differs; noise of the machine comes as a factor a run and one a request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from poolctl.analysis.compare import Declared, compare, proven
from poolctl.analysis.evidence import Average, Count, Evidence
from poolctl.analysis.pool_model import End, Rules, Work, replay
from poolctl.analysis.stats import inflation
from poolctl.cli.interleaved import Contest
from poolctl.cli.side_process import Variant
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Outcome

MEAN_S = 0.05


@dataclass(frozen=True)
class Side:
    """What one side is."""

    utilisation: float = 0.75
    size: int = 10
    hold: float = 1.0
    """Its holds, times this."""
    requests: int = 1500
    statements: float = 3.0
    leaks: int = 0
    per_run: float = 0.01
    """Spread of the machine between runs."""
    per_request: float = 0.2
    """Spread of the machine between requests."""
    timeout: float = 30.0


def run(side: Side, tape: int, noise: np.random.Generator, name: str = "", *, nominal: int = 10) -> Evidence:
    """Play the tape on a pool; arrivals fit `nominal` connections at the side's utilisation."""
    draws = np.random.default_rng([91, tape])
    rate = side.utilisation * nominal / MEAN_S
    at = np.cumsum(draws.exponential(1 / rate, side.requests))
    work = MEAN_S * draws.lognormal(-0.5, 1.0, side.requests)
    machine = np.exp(side.per_run * noise.standard_normal()) * np.exp(
        side.per_request * noise.standard_normal(side.requests) - side.per_request**2 / 2
    )
    hold = work * side.hold * machine
    done = replay(Work(at, hold, np.full(side.requests, 0.003)), Rules(side.size, 0, side.timeout))
    got = done.end == End.RETURNED
    lost = done.end == End.TIMED_OUT
    return Evidence(
        run=name or f"run-{tape}-{noise.integers(1 << 30)}",
        scenario="queue",
        tape=str(tape),
        started_at=f"{tape:06d}",
        times={"response": done.ended_at_s - at, "wait": done.wait_s, "hold": hold[got]},
        counts={
            "timeouts": Count(int(lost.sum()), len(at), inflation(lost) if lost.any() else 1.0),
            "errors": Count(0, len(at)),
            "leaks": Count(side.leaks, len(at)),
        },
        averages={"statements": Average(side.statements, 0.0), "round trips": Average(side.statements + 1, 0.0)},
        steady=True,
    )


def sides(
    base: Side, head: Side, pairs: int, seed: int, *, same_tape: bool = True
) -> tuple[list[Evidence], list[Evidence]]:
    """Return `pairs` runs a side; the same tape for both of a pair, another for every pair."""
    noise = np.random.default_rng([17, seed])
    first = seed * 10_000
    other = 0 if same_tape else 5_000
    return (
        [run(base, first + number, noise) for number in range(pairs)],
        [run(head, first + other + number, noise) for number in range(pairs)],
    )


def until_decided(base: Side, head: Side, pairs: int, seed: int, declared: Declared) -> tuple[Comparison, int]:
    """Make pair after pair as `compare --ab` does; return how it ended and after how many pairs."""
    alike = (Variant("base"), Variant("head"))
    looks = Contest(("queue",), alike, (), pairs, 1, declared, names_target=True).looks()
    noise = np.random.default_rng([19, seed])
    found: tuple[list[Evidence], list[Evidence]] = ([], [])
    for pair in range(1, pairs + 1):
        for side, runs in zip((base, head), found, strict=True):
            runs.append(run(side, seed * 10_000 + pair, noise))
        look = next(number for number, at in enumerate(looks, start=1) if at >= pair)
        made = compare(*found, replace(declared, look=look))
        if proven(made) or (pair in looks and made.verdict is not Outcome.INCONCLUSIVE):
            return made, pair
    return made, pairs
