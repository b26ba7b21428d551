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
    found = [module.RULE for module in REGISTRY.values()]
    width = max(len(rule.slug) for rule in found)
    lines = [
        streams.hanging(
            f"{rule.code}  {rule.slug:<{width}}  {rule.severity.value:<8}  ", manual(rule.code).partition("\n")[0]
        )
        for rule in found
    ]
    streams.write("\n".join([*lines, "", f"poolctl rules {found[0].code} explains one."]) + "\n")
