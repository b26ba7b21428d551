"""`poolctl rules`: what poolctl looks for, and the manual of each rule."""

from __future__ import annotations

from typing import Annotated

import typer

from poolctl.cli import streams
from poolctl.cli.app import GroupedCommand, new

app = new()


@app.command(cls=GroupedCommand, no_args_is_help=False)
def rules(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="PC101, or its slug: prints its manual.", show_default=False)
    ] = None,
) -> None:
    """List what poolctl looks for, or explain one code."""
    from poolctl.analysis.findings import REGISTRY, manual

    if code is not None:
        by_slug = {module.RULE.slug: key for key, module in REGISTRY.items()}
        key = by_slug.get(code.lower(), code.upper())
        text = manual(key)
        rule = REGISTRY[key].RULE
        streams.write(f"{rule.code} {rule.slug} ({rule.severity})\n\n{text}\n")
        return
    rows = [
        (m.RULE.code, m.RULE.slug, m.RULE.severity.value, (m.__doc__ or "").partition("\n")[0])
        for m in REGISTRY.values()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
    streams.write("\n".join([*lines, "", f"poolctl rules {rows[0][0]} explains one."]) + "\n")
