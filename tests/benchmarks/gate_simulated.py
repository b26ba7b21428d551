"""The gate on simulated pools of known truth: how often identical sides fail, and planted regressions do not.

    python tests/benchmarks/gate_simulated.py [--comparisons 200] [--pairs 6]

An open-loop M/G/10 pool, lognormal service with sigma 1, and between the sides of a pair 20 % noise a request
and 1 % a run.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

import numpy as np
from gate_simulation import Side, sides, until_decided

from poolctl.analysis.compare import Declared, compare, primary_of
from poolctl.trace.report import Outcome


def line(what: str, base: Side, head: Side, count: int, pairs: int, *, same: bool = True, margin: float = 0.1) -> None:
    """Make `count` comparisons and print how they ended."""
    ended: Counter[Outcome] = Counter()
    effects = []
    for seed in range(1, count + 1):
        made = compare(*sides(base, head, pairs, seed, same_tape=same), Declared(margin=margin))
        ended[made.verdict] += 1
        row = primary_of(made.scenarios[0])
        if row is not None and row.mde is not None:
            effects.append(row.mde)
    shares = "  ".join(f"{ended[outcome] / count:6.1%}" for outcome in Outcome)
    tapes = "paired" if same else "free  "
    print(f"{what:44}  {base.utilisation:.0%}  {pairs:2} {tapes}  {shares}  {np.median(effects):6.1%}")


def looked(what: str, base: Side, head: Side, count: int, margin: float = 0.1, pairs: int = 10, looks: int = 3) -> None:
    """Make `count` comparisons as `compare --ab` does, with early looks, and print how they ended and when."""
    ended: Counter[Outcome] = Counter()
    needed = []
    for seed in range(1, count + 1):
        made, after = until_decided(base, head, pairs, seed, Declared(margin=margin, looks=looks))
        ended[made.verdict] += 1
        needed.append(after)
    shares = "  ".join(f"{ended[outcome] / count:6.1%}" for outcome in Outcome)
    print(f"{what:44}  {base.utilisation:.0%}  {pairs:2} {looks} looks  {shares}  {np.mean(needed):4.1f} pairs")


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=6)
    given = parser.parse_args()
    count, pairs = given.comparisons, given.pairs
    print(f"{'case':44}  util  n  tapes    {'  '.join(f'{outcome.value[:6]:>6}' for outcome in Outcome)}  detect")
    for utilisation in (0.60, 0.75, 0.90):
        same = Side(utilisation)
        line("identical", same, same, count, pairs)
        line("identical, other arrivals", same, same, count, pairs, same=False)
        line("identical, no margin (the level itself)", same, same, count, pairs, margin=1e-9)
        line("identical, timeouts after 300 ms", *[Side(utilisation, timeout=0.3)] * 2, count, pairs)
    base = Side(0.70)
    line("hold + 20 %", base, Side(0.70, hold=1.2), count, pairs)
    line("hold + 20 %, other arrivals", base, Side(0.70, hold=1.2), count, pairs, same=False)
    line("hold + 5 %, no margin", base, Side(0.70, hold=1.05), count, pairs, margin=1e-9)
    line("a leak", base, Side(0.70, leaks=1), count, pairs)
    line("a round trip more", base, Side(0.70, statements=4), count, pairs)
    line("the pool cut by a third", base, Side(0.70, size=7), count, pairs)
    print("with looks, runs of 3 s")
    for utilisation in (0.60, 0.75, 0.90):
        short = Side(utilisation, requests=590)
        looked("identical", short, short, count)
        looked("identical, no margin (the level itself)", short, short, count, margin=1e-9)
    short = Side(0.70, requests=590)
    looked("hold + 20 %", short, Side(0.70, hold=1.2, requests=590), count)
    looked("the pool cut by a third", short, Side(0.70, size=7, requests=590), count)


if __name__ == "__main__":
    main()
