"""The typer application: a table of commands, each imported when it is the one that was asked for.

`poolctl --help` answers from the table alone, in under a tenth of a second of CPU.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS = {
    "loadtest": "Put a database's connection pool under load; report what it did and what size it should have.",
    "diagnose": "Watch an application; say what is wrong with its pool, who does it, what to change.",
    "size": "Predict what another pool size would do to recorded traffic; say which one it needs.",
    "compare": "Two sets of runs: worse, not worse, or cannot tell; also base and head side by side.",
    "report": "Show a recorded run again, in any format.",
    "scenarios": "List the workloads that loadtest can run; show or copy one.",
    "rules": "List what poolctl looks for, or explain one code.",
    "config": "Show the effective settings and where each of them came from.",
}
"""Command -> its line in the help. Each is the `app` of the module of that name in this package."""


class LazyGroup(TyperGroup):
    """A group whose commands are in COMMANDS."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is the library's
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Import the command's module and return its command; None when there is none of that name."""
        return command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Name the nearest command when there is none of that name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"Did you mean {near[0]}?" if near else f"The commands are {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the table without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


class GroupedCommand(TyperCommand):
    """A command whose help shows its options under the headings of `rich_help_panel`, in plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section a heading, in the order in which the parameters come."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                sections.setdefault("Arguments", []).append((record[0].partition(" <")[0], record[1]))
            else:
                sections.setdefault(getattr(param, "rich_help_panel", None) or "Options", []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def command(name: str) -> Any:
    """Return the command `name`, as the library's command object."""
    module = importlib.import_module(f"poolctl.cli.{name}")
    built = typer.main.get_command(module.app)
    built.name = name
    return built


def build() -> Any:
    """Return the application, as the library's command object."""
    app = new(cls=LazyGroup, help="Know, and get right, the database connection pool of a Python service.")
    app.callback(epilog="Start with: poolctl loadtest bursty --duration 30s")(_root)
    return typer.main.get_command(app)


def new(**settings: Any) -> typer.Typer:
    """Return a typer application with what all of ours have in common: plain help, no completion, our own errors."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        **settings,
    )


def _version(asked: bool) -> None:
    if asked:
        from poolctl import __version__

        typer.echo(f"poolctl {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Know, and get right, the database connection pool of a Python service."""
