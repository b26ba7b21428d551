"""A side of a comparison: from what was typed to runs, their evidence, and whether they may be compared.

In: a name (a run, a directory of runs, a saved baseline), several separated by commas. Out: runs, evidence, the
differences of the surroundings. Saved baselines are directories too: each run without its raw records.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from poolctl.analysis.evidence import Evidence, evidence
from poolctl.config import Settings
from poolctl.errors import InputError, OutputError, UsageError
from poolctl.trace.run import Run, output_error

KEPT = ("*.json", "*.jsonl", "*.parquet")
"""Files of a run that a baseline keeps: all but its raw records."""
NAME = re.compile(r"[\w][\w.+-]*")


def runs(text: str, settings: Settings) -> list[Run]:
    """Return the runs that `text` names. Raises InputError for what is none of the three."""
    found = [run for part in text.split(",") if part.strip() for run in _named(part.strip(), settings)]
    if not found:
        raise InputError(f"{text!r} names no run", "give a run, several separated by commas, or a baseline")
    return list({run.path: run for run in found}.values())


def _named(name: str, settings: Settings) -> list[Run]:
    root = Path(settings.runs_dir)
    for place in (Path(name), baselines(settings) / name):
        if place.is_dir() and not (place / "run.json").is_file():
            all_runs = [Run(path.parent.absolute()) for path in sorted(place.glob("*/run.json"))]
            inside = [run for run in all_runs if not run.is_part]
            if inside:
                return inside
            raise InputError(f"{place} is a directory without runs", "give a run, or a directory of runs")
    try:
        return [Run.open(name, root)]
    except InputError as error:
        known = sorted(path.name for path in baselines(settings).glob("*") if path.is_dir())
        hint = f"{error.hint}; baselines: {', '.join(known)}" if known else error.hint
        raise InputError(error.message, hint) from None


def baselines(settings: Settings) -> Path:
    """Return the directory of the saved baselines: beside that of the runs."""
    return Path(settings.runs_dir).parent / "baselines"


def save(name: str, chosen: Sequence[Run], settings: Settings, *, force: bool) -> Path:
    """Keep runs as the baseline `name`; an old one stays whole until the new one is. Raises OutputError."""
    if not NAME.fullmatch(name):
        raise UsageError(f"a baseline cannot be called {name!r}", "use letters, digits, dots, dashes")
    place = baselines(settings) / name
    if place.exists() and not force:
        raise OutputError(f"there is a baseline {name} already", "--force replaces it")
    for run in chosen:
        evidence(run)  # it can be read, and its tables are there: the raw records are not kept
    fresh = place.with_name(f".{name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        for run in chosen:
            (fresh / run.id).mkdir(parents=True)
            for pattern in KEPT:
                for path in run.path.glob(pattern):
                    shutil.copy2(path, fresh / run.id / path.name)
        if place.exists():
            shutil.rmtree(place)
        fresh.rename(place)
    except OSError as error:
        with contextlib.suppress(OSError):
            shutil.rmtree(fresh)
        raise output_error(place, error) from None
    return place


def differences(base: Sequence[Evidence], head: Sequence[Evidence]) -> list[str]:
    """Return where the surroundings of the two sides, or of the runs of one side, are not the same."""
    found = []
    shared = {item.scenario for item in base} & {item.scenario for item in head}
    for scenario in sorted(shared):
        sides = [[item.surroundings for item in side if item.scenario == scenario] for side in (base, head)]
        for key in sorted({key for side in sides for item in side for key in item}):
            values = [sorted({item.get(key, "not known") for item in side}) for side in sides]
            if values[0] != values[1] or len(values[0]) > 1:
                found.append(f"{key}: {', '.join(values[0])} → {', '.join(values[1])}")
    return list(dict.fromkeys(found))


def refuse_foreign(found: Sequence[str]) -> None:
    """Raise UsageError when the surroundings differ: a difference of times would say nothing of the code."""
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UsageError(
            f"the base is foreign, {'; '.join(found[:3])}{more}",
            "record it here, or give --allow-foreign-baseline to compare all the same",
        )
