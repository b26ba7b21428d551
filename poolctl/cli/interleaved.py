"""Interleaved: base and head in turns on the same tapes, ABBA, until it is decided. What `poolctl compare --ab` does.

In: scenarios, two sides (options of loadtest, a directory, an interpreter), what was declared. Out: runs on disk, a
comparison. Each side is a process of its own (`cli.side_process`), so that two checkouts can have their own
environments.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poolctl.analysis.compare import Declared, compare, primary_of, proven
from poolctl.analysis.evidence import Evidence, evidence
from poolctl.cli import noise, sides, streams
from poolctl.cli.comparing import counted
from poolctl.cli.output import Output
from poolctl.cli.side_process import SideProcess, Variant
from poolctl.config import Settings
from poolctl.errors import UsageError
from poolctl.report import render_comparison
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Outcome
from poolctl.trace.run import Run, write_text
from poolctl.units import format_seconds

BASE, HEAD = "base", "head"


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
        with _processes(contest) as processes, _server(contest) as extra:
            made = _Play(contest, extra, settings, processes).until_decided()
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
def _processes(contest: Contest) -> Iterator[tuple[SideProcess, SideProcess]]:
    """One process a side, both started at once: they import while the server starts."""
    with contextlib.ExitStack() as stack:
        made = []
        for variant in contest.variants:
            made.append(SideProcess(variant, (contest.root / variant.name).absolute()))
            stack.callback(made[-1].close)
        yield made[0], made[1]


@contextlib.contextmanager
def _server(contest: Contest) -> Iterator[tuple[str, ...]]:
    """One embedded PostgreSQL for all runs where no database is named: both sides get the same, warm."""
    if contest.names_target:
        yield ()
        return
    from poolctl.target.embedded import EmbeddedPostgres

    with EmbeddedPostgres() as server:
        yield ("--url", server.url, "--allow-writes")


class _Play:
    """The runs of a comparison, and what is known after each pair."""

    def __init__(
        self, contest: Contest, extra: Sequence[str], settings: Settings, processes: tuple[SideProcess, SideProcess]
    ) -> None:
        self._contest = contest
        self._extra = extra
        self._settings = settings
        self._processes = processes
        self._seeds = itertools.count(contest.seed)
        self._spare = contest.pairs // 2
        self._found: tuple[list[Evidence], list[Evidence]] = ([], [])

    def until_decided(self) -> Comparison:
        """Make pair after pair until a look decides, or a fact does; return the comparison."""
        contest = self._contest
        looks = contest.looks()
        for pair in range(1, contest.pairs + 1):
            for scenario in contest.scenarios:
                for side, item in zip(self._found, self._sound_pair(pair, scenario), strict=True):
                    side.append(item)
                _tell(contest, pair, scenario, self._found)
            if contest.calibrate and pair < contest.pairs:
                continue
            made = self._compared(self._found, next(number for number, at in enumerate(looks, start=1) if at >= pair))
            decided = pair in looks and all(one.verdict is not Outcome.INCONCLUSIVE for one in made.scenarios)
            if decided or proven(made) or pair == contest.pairs:
                return made
        raise AssertionError("the last pair is a look")

    def _compared(self, found: tuple[list[Evidence], list[Evidence]], look: int = 1) -> Comparison:
        variants = self._contest.variants
        declared = dataclasses.replace(self._contest.declared, look=look)
        foreign = sides.differences(*found)
        made = compare(*found, declared, names=(variants[0].shown, variants[1].shown), foreign=foreign)
        return counted(made, self._settings)

    def _sound_pair(self, pair: int, scenario: str) -> tuple[Evidence, Evidence]:
        """Run both sides on one tape; again, on another, while the machine disturbs it and spare pairs are left."""
        both = self._pair(pair, scenario)
        while self._spare and (why := next((item.disturbed for item in both if item.disturbed), "")):
            if proven(self._compared(([both[0]], [both[1]]))):
                break  # a leak is a leak on a busy machine too
            self._spare -= 1  # what is seen of the machine decides this, and nothing of what was measured
            _set_aside(self._contest, both, scenario, why)
            both = self._pair(pair, scenario)
        return both

    def _pair(self, pair: int, scenario: str) -> tuple[Evidence, Evidence]:
        """Run both sides on one tape: ABBA, so that what drifts with time meets both alike."""
        arguments = [scenario, *self._contest.common, *self._extra, "--seed", str(next(self._seeds))]
        runs = {}
        for side in (0, 1) if pair % 2 else (1, 0):
            runs[side] = evidence(self._processes[side].run(arguments), self._settings.policy)
        return runs[0], runs[1]


def _set_aside(contest: Contest, both: Sequence[Evidence], scenario: str, why: str) -> None:
    """Put a pair that the machine disturbed out of the way; another is made for it, half as many as were planned."""
    aside = contest.root / "disturbed"
    aside.mkdir(parents=True, exist_ok=True)
    for variant, item in zip(contest.variants, both, strict=True):
        (contest.root / variant.name / item.run).rename(aside / item.run)
    if not contest.quiet:
        streams.say(f"{scenario}: made again, this pair does not count: {why}")


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
