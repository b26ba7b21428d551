"""Interleaved: base and head in turns on the same tapes, ABBA, until it is decided. What `poolctl compare --ab` does.

In: scenarios, two sides (options of loadtest, a directory, an interpreter), what was declared. Out: runs on disk, a
comparison. Each run is a process of its own, so that two checkouts can have their own environments; its arguments go
through a pipe, as a URL may hold a password.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poolctl.analysis.compare import Declared, compare, primary_of
from poolctl.analysis.evidence import Evidence, evidence
from poolctl.cli import noise, sides, streams
from poolctl.cli.comparing import counted
from poolctl.cli.output import Output
from poolctl.config import Settings
from poolctl.errors import Exit, PoolctlError, TargetError, UsageError
from poolctl.report import render_comparison
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Outcome
from poolctl.trace.run import Run, write_text
from poolctl.units import format_seconds

CHILD = "import json, sys; from poolctl.cli import main; sys.exit(main(json.load(sys.stdin)))"
USABLE = (Exit.DONE, Exit.GATE_FAILED, Exit.INCONCLUSIVE)
"""Exit codes of a run that can be compared: the gate of the single run does not matter here."""
BASE, HEAD = "base", "head"


@dataclass(frozen=True, slots=True)
class Variant:
    """One side: how it is run."""

    name: str
    options: tuple[str, ...] = ()
    """Of `poolctl loadtest`, after those of both sides."""
    directory: Path | None = None
    """A checkout; None: here."""
    python: str | None = None
    """The interpreter of its environment, with poolctl in it; None: this one."""

    @property
    def shown(self) -> str:
        """The side as a person may see it."""
        from poolctl.redact import scrub

        said = [" ".join(self.options), f"in {self.directory}" if self.directory else "", self.python or ""]
        return scrub(" ".join(part for part in said if part)) or "as it is"


@dataclass(frozen=True)
class Contest:
    """What is to be run."""

    scenarios: tuple[str, ...]
    variants: tuple[Variant, Variant]
    common: tuple[str, ...]
    """Options of loadtest for both sides."""
    pairs: int
    seed: int
    declared: Declared
    names_target: bool
    """A database or an engine was named for either side."""
    calibrate: bool = False
    quiet: bool = False
    root: Path = Path(".poolctl/ab/last")
    """Where the runs go: `base` and `head` below it."""

    def __post_init__(self) -> None:
        if self.pairs < 2:
            raise UsageError(f"--pairs {self.pairs}: must be 2 or more", "six or more are worth the time")
        if not 1 <= self.declared.looks <= self.pairs // 2:
            raise UsageError(f"--looks {self.declared.looks}: {self.pairs} pairs allow 1 to {self.pairs // 2}")

    def looks(self) -> list[int]:
        """Pairs after which it may look, declared before anything runs."""
        return [math.ceil(self.pairs * (number + 1) / self.declared.looks) for number in range(self.declared.looks)]


def run(contest: Contest, settings: Settings, output: Output) -> int:
    """Make the runs, deliver the comparison, and return its exit code."""
    for variant in contest.variants:
        if variant.directory is not None and not variant.directory.is_dir():
            raise UsageError(f"there is no directory {variant.directory}", "give the path of a checkout")
    if not contest.calibrate:
        for scenario in contest.scenarios:
            noise.refuse_blind(settings, Path(scenario.partition(":")[0]).stem, contest.pairs, contest.declared)
    try:
        with _server(contest) as extra:
            made = _play(contest, extra, settings)
    except KeyboardInterrupt:
        streams.say(f"interrupted; the runs made until then are kept under {contest.root}")
        raise
    write_text(contest.root / "comparison.json", render_comparison(made, "json"))
    if contest.calibrate:
        learn(contest, settings)
    output.deliver_comparison(made)
    streams.say(f"Compare these runs again: poolctl compare {contest.root / BASE} {contest.root / HEAD}")
    return made.exit_code


@contextlib.contextmanager
def _server(contest: Contest) -> Iterator[tuple[str, ...]]:
    """One embedded PostgreSQL for all runs where no database is named: both sides get the same, warm."""
    if contest.names_target:
        yield ()
        return
    from poolctl.target.embedded import EmbeddedPostgres

    with EmbeddedPostgres() as server:
        yield ("--url", server.url, "--allow-writes")


def _play(contest: Contest, extra: Sequence[str], settings: Settings) -> Comparison:
    looks = contest.looks()
    found: tuple[list[Evidence], list[Evidence]] = ([], [])
    seeds = itertools.count(contest.seed)
    spare = contest.pairs // 2
    made: Comparison | None = None
    for pair in range(1, contest.pairs + 1):
        for scenario in contest.scenarios:
            both = _pair(contest, pair, scenario, [*extra, "--seed", str(next(seeds))], settings)
            while spare and (why := next((item.disturbed for item in both if item.disturbed), "")):
                spare -= 1  # what is seen of the machine decides this, and nothing of what was measured
                _set_aside(contest, both, scenario, why)
                both = _pair(contest, pair, scenario, [*extra, "--seed", str(next(seeds))], settings)
            for side, item in zip(found, both, strict=True):
                side.append(item)
            _tell(contest, pair, scenario, found)
        if pair in looks:
            declared = dataclasses.replace(contest.declared, look=looks.index(pair) + 1)
            names = (contest.variants[0].shown, contest.variants[1].shown)
            foreign = sides.differences(*found)
            made = counted(compare(*found, declared, names=names, foreign=foreign), settings)
            if not contest.calibrate and all(one.verdict is not Outcome.INCONCLUSIVE for one in made.scenarios):
                break
    assert made is not None  # noqa: S101 - the last pair is a look
    return made


def _pair(
    contest: Contest, pair: int, scenario: str, more: Sequence[str], settings: Settings
) -> tuple[Evidence, Evidence]:
    """Run both sides on one tape: ABBA, so that what drifts with time meets both alike."""
    runs = {}
    for side in (0, 1) if pair % 2 else (1, 0):
        runs[side] = evidence(_one(contest, contest.variants[side], scenario, more), settings.policy)
    return runs[0], runs[1]


def _set_aside(contest: Contest, both: Sequence[Evidence], scenario: str, why: str) -> None:
    """Put a pair that the machine disturbed out of the way; another is made for it, half as many as were planned."""
    aside = contest.root / "disturbed"
    aside.mkdir(parents=True, exist_ok=True)
    for variant, item in zip(contest.variants, both, strict=True):
        (contest.root / variant.name / item.run).rename(aside / item.run)
    if not contest.quiet:
        streams.say(f"{scenario}: made again, this pair does not count: {why}")


def _one(contest: Contest, variant: Variant, scenario: str, more: Sequence[str]) -> Run:
    """Make one run in a process of its own and return it. Raises PoolctlError with what it said."""
    place = (contest.root / variant.name).absolute()
    arguments = ["loadtest", scenario, *contest.common, *more, *variant.options]
    arguments += ["--quiet", "--format", "json", "--runs-dir", str(place)]
    process = subprocess.Popen(  # noqa: S603 - this interpreter, or the one the user named
        [variant.python or sys.executable, "-P", "-c", CHILD],  # -P: a queue.py there must hide no module of Python's
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=variant.directory,
        text=True,
    )
    try:
        out, err = process.communicate(json.dumps(arguments))
    except KeyboardInterrupt:
        process.wait()  # it got the same Ctrl-C, and puts away what it holds
        raise
    if process.returncode == Exit.INTERRUPTED:
        raise KeyboardInterrupt
    try:
        if process.returncode not in USABLE:
            raise ValueError(process.returncode)
        return Run(Path(json.loads(out)["run"]["path"]))
    except (ValueError, KeyError, TypeError):
        raise _failure(variant, process.returncode, err) from None


def _failure(variant: Variant, code: int, err: str) -> PoolctlError:
    lines = [line for line in err.splitlines() if line.strip()]
    said = next((line.partition("error: ")[2] for line in lines if line.startswith("error: ")), "")
    hint = next((line.partition("hint: ")[2] for line in lines if line.startswith("hint: ")), "")
    kind = TargetError if code == Exit.TARGET else PoolctlError
    if "No module named 'poolctl'" in err:
        said, hint = f"{variant.python} has no poolctl", "install poolctl into that environment"
    return kind(f"{variant.name}: {said or (lines or ['no answer'])[-1]}", hint)


def _tell(contest: Contest, pair: int, scenario: str, found: tuple[list[Evidence], list[Evidence]]) -> None:
    if contest.quiet:
        return
    name = contest.declared.primary or "response"
    last = [side[-1].times.get(name) for side in found]
    shown = [format_seconds(None if values is None else float(np.quantile(values, 0.95))) for values in last]
    streams.say(f"{scenario}: pair {pair} of {contest.pairs}: p95 {name} base {shown[0]}, head {shown[1]}")


def learn(contest: Contest, settings: Settings) -> None:
    """Remember the spread of the differences of identical runs. Raises UsageError when too few of them count."""
    runs = [[Run(path.parent) for path in sorted((contest.root / name).glob("*/run.json"))] for name in (BASE, HEAD)]
    both = [[evidence(run, settings.policy) for run in side] for side in runs]
    for scenario in dict.fromkeys(item.scenario for item in both[0]):
        pairs = _differences(scenario, both, contest.declared)
        if len(pairs) < noise.LEAST:
            raise UsageError(f"{scenario}: {len(pairs)} pairs are too few to learn from", f"give --pairs {noise.LEAST}")
        spread = float(np.std(pairs, ddof=1))
        one = next(item for item in both[0] if item.scenario == scenario)
        noise.keep(settings, one, spread, len(pairs))
        streams.say(f"{scenario}: {noise.describe(spread, len(pairs), contest.declared)}")


def _differences(scenario: str, both: Sequence[Sequence[Evidence]], declared: Declared) -> list[float]:
    """ln(head ÷ base) of each pair, as the comparison of that pair alone has it."""
    tapes = {item.tape: item for item in both[1] if item.scenario == scenario}
    found = []
    for item in both[0]:
        if item.scenario == scenario and item.tape in tapes:
            row = primary_of(compare([item], [tapes[item.tape]], declared).scenarios[0])
            if row is not None and row.ratio:
                found.append(math.log(row.ratio))
    return found
