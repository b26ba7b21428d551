"""From the options of `poolctl compare --ab` to a Contest.

In: what was typed. Out: the two sides and what they share, everything checked that can be before anything runs.
"""

from __future__ import annotations

import dataclasses
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poolctl.analysis.compare import Declared
from poolctl.cli.interleaved import BASE, HEAD, Contest
from poolctl.cli.side_process import Variant
from poolctl.config import Settings
from poolctl.errors import UsageError

PASSED_ON = (
    "url",
    "engine",
    "pool_size",
    "max_overflow",
    "pool_timeout",
    "duration",
    "rate",
    "processes",
)
TARGETS = ("--url", "--engine")


def contest(scenarios: Sequence[str], given: dict[str, Any], settings: Settings, declared: Declared) -> Contest:
    """Return what is to be run. Raises UsageError for what cannot work."""
    if not scenarios:
        raise UsageError("--ab takes scenarios", "poolctl compare --ab bursty --head '--pool-size 10'")
    base = _variant(BASE, given)
    calibrate = bool(given["calibrate"])
    if calibrate and any(given[f"head{part}"] for part in ("", "_dir", "_python")):
        raise UsageError("--calibrate runs the base against itself", "leave the options of the head away")
    head = dataclasses.replace(base, name=HEAD) if calibrate else _variant(HEAD, given)
    if not calibrate and dataclasses.replace(head, name=BASE) == base:
        raise UsageError("base and head are the same", "say what differs, or give --calibrate to learn the noise")
    common = [part for key in PASSED_ON if given[key] is not None for part in (_name(key), str(given[key]))]
    common += [_name(key) for key in ("allow_writes", "yes") if given[key]]
    named = [*common, *base.options, *head.options]
    configured = settings.url is not None or settings.engine is not None
    looks = 1 if calibrate else int(given["looks"])
    return Contest(
        scenarios=tuple(scenarios),
        variants=(base, head),
        common=tuple(common),
        pairs=int(given["pairs"]),
        seed=secrets.randbelow(2**31) if settings.seed is None else settings.seed,
        declared=dataclasses.replace(declared, looks=looks),
        names_target=configured or any(part.partition("=")[0] in TARGETS for part in named),
        calibrate=calibrate,
        quiet=bool(given["quiet"]),
        root=_root(settings),
    )


def _variant(name: str, given: dict[str, Any]) -> Variant:
    try:
        options = tuple(shlex.split(given[name] or ""))
    except ValueError as error:
        raise UsageError(f"--{name}: cannot read {given[name]!r}: {error}", "close the quotes") from None
    directory = given[f"{name}_dir"]
    return Variant(name, options, Path(directory).absolute() if directory else None, given[f"{name}_python"])


def _root(settings: Settings) -> Path:
    from datetime import UTC, datetime

    return Path(settings.runs_dir).parent / "ab" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _name(key: str) -> str:
    return f"--{key.replace('_', '-')}"
