"""`poolctl config`: what holds, and which source said so."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Annotated

import typer

from poolctl.cli import streams
from poolctl.cli.app import GroupedCommand, new
from poolctl.policy import Policy
from poolctl.units import format_seconds

app = new()


@app.command(cls=GroupedCommand)
def config(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document: key -> value, source, shadowed.")] = False,
) -> None:
    """Show the effective settings and where each of them came from.

    The command line wins over poolctl.toml (or [tool.poolctl] in pyproject.toml), that over the environment
    (POOLCTL_POOL_SIZE and so on), that over the defaults. A value that shadows another says so.
    """
    from poolctl.config import load

    settings = load({})
    if as_json:
        document = {
            row.key: {"value": row.value, "source": row.source, "shadowed": [list(pair) for pair in row.shadowed]}
            for row in settings.effective
        }
        streams.write(json.dumps({"settings": document, "notes": settings.notes}, indent=2, ensure_ascii=False) + "\n")
        return
    rows = [(row.key, _shown(row.key, row.value), row.source) for row in settings.effective]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for row, effective in zip(rows, settings.effective, strict=True):
        lines = ["  ".join((row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2])).rstrip()]
        for source, value in effective.shadowed:
            lines.append(f"{'':<{widths[0]}}  shadows {_shown(effective.key, value)} from {source}")
        streams.write("\n".join(lines) + "\n")
    for note in settings.notes:
        streams.write(f"note: {note}\n")


def _shown(key: str, value: object) -> str:
    """Return a value as people write it; a list or a text that says nothing is `-`."""
    if value is None or value == () or value == []:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "never" if value < 0 else format_seconds(value) if _is_time(key) else f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _is_time(key: str) -> bool:
    times = {field.name.removesuffix("_s") for field in fields(Policy) if field.name.endswith("_s")}
    return key.removeprefix("thresholds.") in times | {"pool_timeout", "pool_recycle", "duration"}
