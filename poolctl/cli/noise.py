"""Noise: what a calibration (A/A) learned of the spread between identical runs, kept beside the runs.

In and out: `noise.json`, per scenario the spread, the number of pairs, and the surroundings it holds for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poolctl.analysis.compare import Declared
from poolctl.analysis.evidence import Evidence
from poolctl.analysis.ratio import Noise, detectable, runs_needed
from poolctl.config import Settings
from poolctl.errors import UsageError
from poolctl.trace.run import write_text
from poolctl.units import format_share

LEAST = 4
"""Pairs from which a spread is worth remembering."""


def _path(settings: Settings) -> Path:
    return Path(settings.runs_dir).parent / "noise.json"


def _read(settings: Settings) -> dict[str, Any]:
    try:
        found = json.loads(_path(settings).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def learned(settings: Settings, base: Sequence[Evidence]) -> dict[str, Noise]:
    """Return what is known of these scenarios in these surroundings."""
    kept = _read(settings)
    return {
        item.scenario: Noise(float(kept[item.scenario]["spread"]), int(kept[item.scenario]["pairs"]) - 1)
        for item in base
        if kept.get(item.scenario, {}).get("surroundings") == dict(item.surroundings)
    }


def keep(settings: Settings, one: Evidence, spread: float, pairs: int) -> None:
    """Remember the spread of a scenario. Raises OutputError."""
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"spread": spread, "pairs": pairs, "surroundings": dict(one.surroundings)}
    write_text(path, json.dumps({**_read(settings), one.scenario: entry}, indent=1) + "\n")


def describe(spread: float, pairs: int, declared: Declared) -> str:
    """Say what the spread means for a margin."""
    least = detectable(spread, pairs, declared.level)
    need = runs_needed(spread, declared.margin, declared.level)
    return (
        f"identical runs differ by {format_share(spread)} (standard deviation of {pairs} pairs): {pairs} pairs show an "
        f"effect of {format_share(least)}, a margin of {format_share(declared.margin)} needs {need}"
    )


def refuse_blind(settings: Settings, scenario: str, pairs: int, declared: Declared) -> None:
    """Raise UsageError when a calibration says that so many pairs cannot see the margin."""
    entry = _read(settings).get(scenario)
    if entry is None:
        return
    least = detectable(float(entry["spread"]), pairs, declared.level)
    if least > declared.margin:
        need = runs_needed(float(entry["spread"]), declared.margin, declared.level)
        raise UsageError(
            f"{scenario}: a margin of {format_share(declared.margin)} lies below what {pairs} pairs can show here, "
            f"{format_share(least)} by the calibration",
            f"give --pairs {need}, a longer --duration, or --margin {least:.2f}",
        )
