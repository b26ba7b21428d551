"""`poolctl scenarios`: list the workloads, show one, copy one."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from poolctl.cli import options, streams
from poolctl.cli.app import GroupedCommand, new
from poolctl.errors import OutputError

app = new(help="List the workloads that loadtest can run; show or copy one.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A scenario's name, or the path of its file.", show_default=False)
]


@app.callback(invoke_without_command=True, no_args_is_help=False)
def scenarios(context: typer.Context) -> None:
    """List the workloads that loadtest can run; show or copy one."""
    if context.invoked_subcommand is None:
        listing()


@app.command("list", cls=GroupedCommand)
def listing() -> None:
    """List the scenarios by name. Those in `scenarios/` here come before those that came with poolctl."""
    from poolctl.load import find

    files = find.files()
    width = max(map(len, files), default=0)
    lines = [
        f"{streams.hanging(f'{name:<{width}}  ', _summary(path))}\n{'':<{width}}  {_near(path)}"
        for name, path in files.items()
    ]
    closing = "poolctl loadtest NAME runs one, poolctl scenarios copy NAME makes it yours."
    streams.write("\n".join([*lines, "", closing]) + "\n")


@app.command("show", cls=GroupedCommand)
def show(name: Name) -> None:
    """Show the file of a scenario."""
    source = _path(name).read_text(encoding="utf-8")
    if streams.wants_color(sys.stdout):
        source = _highlighted(source)
    streams.write(source)


@app.command("copy", cls=GroupedCommand)
def copy(
    name: Name,
    destination: Annotated[
        Path | None,
        typer.Argument(metavar="DEST", help="File or directory; else scenarios/NAME.py.", show_default=False),
    ] = None,
    force: options.Force = False,
) -> None:
    """Copy a scenario to a file of yours, to be changed; `loadtest` finds those in `scenarios/` by name."""
    from poolctl.trace.run import output_error, write_text

    source = _path(name)
    path = destination or Path("scenarios") / source.name
    if path.is_dir():
        path /= source.name
    if path.exists() and not force:
        raise OutputError(f"{path} is already there", "--force overwrites it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path.parent, error) from None
    write_text(path, source.read_text(encoding="utf-8"))
    streams.write(f"{path}\n")
    streams.say(f"run it: poolctl loadtest {path}")


def _path(name: str) -> Path:
    """Return the file, also of a scenario that cannot be imported."""
    from poolctl.load import find

    if name in (known := find.files()):
        return known[name]
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        return find.find(name).path
    return path


def _summary(path: Path) -> str:
    """Return the first line of the file's docstring, without running the file."""
    try:
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError, OSError) as error:
        return f"(cannot be read: {error})"
    return (said or "").partition("\n")[0]


def _near(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _highlighted(source: str) -> str:
    import io

    from rich.console import Console
    from rich.syntax import Syntax

    out = io.StringIO()
    syntax: Any = Syntax(source, "python", theme="ansi_dark", background_color="default")
    Console(file=out, width=streams.width(), force_terminal=True, color_system="standard").print(syntax)
    return out.getvalue()
