"""Measured waits of a real pool against a FIFO replay of the same trace, and against Erlang C.

    python tests/benchmarks/theory.py [--rounds 3]

Prints measured ÷ expected − 1 for each run. The seeds named in `tests/integration/test_load_theory.py` have tapes that
lie within 2 % of Erlang C when simulated; the others show how far one sample path strays from the mean of all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

from queueing import measure

RUNS = [(340, 25, (30, 34, 36)), (412, 40, (44, 43, 18))]


def main() -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how many of the three seeds of each rate")
    rounds = parser.parse_args().rounds
    print("utilisation  seed  requests   mean  p95 ms   replay: mean    p95   Erlang C: mean    p95")
    for rate, seconds, seeds in RUNS:
        for seed in seeds[:rounds]:
            with tempfile.TemporaryDirectory() as directory:
                queue = measure(rate, seconds, seed, Path(directory))
            off = queue.errors()
            print(
                f"{queue.utilisation:11.3f}  {seed:4}  {queue.requests:8}"
                f"  {queue.mean * 1e3:5.2f}  {queue.p95 * 1e3:6.2f}"
                f"   {off['replay mean']:+12.1%}  {off['replay p95']:+5.1%}   {off['theory mean']:+14.1%}"
                f"  {off['theory p95']:+5.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
