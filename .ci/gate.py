"""poolctl's gate on poolctl: the same code on both sides must not fail, and what a lease costs is what it was.

In: `.ci/gate.json`, the numbers that no machine disturbs. Out: the comparison on stdout; exit code 1 where the gate
failed or a number is greater than committed. What the machine was too busy to tell (4) is printed and fails nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
COMPARE = ("compare", "--ab", str(HERE / "own_pool.py"), "--head", "--fifo")  # first in, first out: as the base has it
LOAD = ("--pool-size", "5", "--max-overflow", "0", "--duration", "2s", "--seed", "1", "--pairs", "3", "--looks", "1")
LEVEL = ("--margin", "50%", "--alpha", "0.01", "--inconclusive", "pass")


def main() -> int:
    """Run the gate, hold its counts to what is committed."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "poolctl", *COMPARE, *LOAD, *LEVEL, "--report", f"{place}/gate.json"]
        done = subprocess.run([*command, "--runs-dir", f"{place}/runs"], check=False)
        if done.returncode:
            return done.returncode
        made = json.loads(Path(place, "gate.json").read_text())
    found = {row["name"]: row for scenario in made["scenarios"] for row in scenario["measures"]}
    wrong = 0
    for name, expected in json.loads((HERE / "gate.json").read_text()).items():
        for side in ("base", "head"):
            value = found[name][side]
            if value > expected["at_most"] * 1.01:
                print(f"{name}: {value:g} in {side}, committed is at most {expected['at_most']:g}")
                wrong = 1
    if made["verdict"] == "inconclusive":
        print("Inconclusive (4): the machine was too busy to compare times. That fails nothing; the counts decide.")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
