"""The command line: chooses, calls, renders, returns a code. Thin: what it knows of pools it was told by a Report.

In: arguments. Out: the report on stdout, everything else on stderr, an exit code (`poolctl.errors.Exit`). Each command
is a module of its own, imported only when it is the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run poolctl with `arguments` (default: those of the process) and return its exit code."""
    from poolctl.cli.app import build
    from poolctl.cli.boundary import guarded

    return guarded(lambda: build().main(arguments, prog_name="poolctl", standalone_mode=False))
