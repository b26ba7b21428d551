"""From names of runs to a comparison, to an exit code. What `poolctl compare` and `loadtest --baseline` do.

In: names, Settings, what was declared. Out: a comparison where the Output wants it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from poolctl.analysis.compare import ALPHA, MARGIN, Declared, compare
from poolctl.analysis.evidence import Evidence, evidence
from poolctl.cli import noise, sides, streams
from poolctl.cli.output import Output
from poolctl.config import Settings
from poolctl.errors import Exit, UsageError
from poolctl.trace.comparison import Comparison
from poolctl.trace.run import Run
from poolctl.values import threshold


def declare(margin: str | None, alpha: str | None, primary: str | None) -> Declared:
    """Return what is decided beforehand. Raises UsageError for what cannot work."""
    from poolctl.analysis.evidence import TIMES

    if primary is not None and primary not in TIMES:
        raise UsageError(f"--primary: there is no time {primary!r}", f"the times are {', '.join(TIMES)}")
    return Declared(
        margin=MARGIN if margin is None else share(margin, "--margin"),
        alpha=ALPHA if alpha is None else share(alpha, "--alpha"),
        primary=primary,
    )


def share(text: str, place: str) -> float:
    """Read a share as `10%` or `0.1`."""
    return float(threshold("share")(text if "%" in text else _number(text, place), place))


def _number(text: str, place: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{place}: cannot read {text!r}", "write it as 10% or 0.1") from None


def keep(name: str, texts: Sequence[str], settings: Settings, *, force: bool) -> int:
    """Save runs as a baseline and say where."""
    if not texts:
        raise UsageError("--save needs the runs to keep", "poolctl compare --save main last")
    chosen = [run for text in texts for run in sides.runs(text, settings)]
    place = sides.save(name, chosen, settings, force=force)
    streams.say(f"kept {len(chosen)} {'run' if len(chosen) == 1 else 'runs'} as baseline {name}: {place}")
    return int(Exit.DONE)


def recorded(texts: Sequence[str], settings: Settings, declared: Declared, output: Output, *, foreign_too: bool) -> int:
    """Compare recorded runs, deliver the comparison, and return its exit code."""
    if len(texts) != 2:
        raise UsageError(
            f"compare takes two sides, BASE and HEAD; {len(texts)} given",
            "put the runs of one side together: run-1,run-2,run-3",
        )
    chosen = [sides.runs(text, settings) for text in texts]
    twice = {run.path for run in chosen[0]} & {run.path for run in chosen[1]}
    if twice:
        raise UsageError(f"{next(iter(twice)).name} is on both sides", "compare it with another run")
    made = against(chosen[0], chosen[1], settings, declared, (texts[0], texts[1]), foreign_too=foreign_too)
    output.deliver_comparison(made)
    return made.exit_code


def over_time(directory: str, others: Sequence[str], settings: Settings, declared: Declared, output: Output) -> int:
    """Look for a change in a series of runs, deliver it as a comparison, and return its exit code."""
    from poolctl.analysis.history import locate

    if others:
        raise UsageError("--history takes a directory and no runs", "leave the arguments away")
    made = counted(locate(_evidence(sides.runs(directory, settings), settings), declared, directory), settings)
    output.deliver_comparison(made)
    return made.exit_code


def against(
    base: Sequence[Run],
    head: Sequence[Run],
    settings: Settings,
    declared: Declared,
    names: tuple[str, str],
    *,
    foreign_too: bool = False,
) -> Comparison:
    """Return the comparison of two sets of runs. Raises UsageError for a foreign base."""
    both = [_evidence(side, settings) for side in (base, head)]
    foreign = sides.differences(*both)
    if not foreign_too:
        sides.refuse_foreign(foreign)
    known = noise.learned(settings, both[0])
    declared = dataclasses.replace(declared, noise=known)
    return counted(compare(both[0], both[1], declared, names=names, foreign=foreign), settings)


def counted(made: Comparison, settings: Settings) -> Comparison:
    """Let an inconclusive gate count as `--inconclusive` says."""
    if made.exit_code == Exit.INCONCLUSIVE and settings.inconclusive:
        code = Exit.DONE if settings.inconclusive == "pass" else Exit.GATE_FAILED
        return dataclasses.replace(made, exit_code=int(code))
    return made


def _evidence(side: Sequence[Run], settings: Settings) -> list[Evidence]:
    return [evidence(run, settings.policy) for run in side]
