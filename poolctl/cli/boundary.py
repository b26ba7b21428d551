"""The one place where an error becomes words and an exit code.

In: a call that runs the command line. Out: its exit code; on stderr, for what went wrong, `error: …` and `hint: …`.
Never a traceback: that of a bug goes to a file.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from poolctl.cli import streams
from poolctl.cli.streams import say
from poolctl.errors import Exit, PoolctlError


def guarded(call: Callable[[], Any]) -> int:
    """Run `call` and return the exit code for what it returned or raised."""
    code = _attempt(call)
    return code if sys.stdout is None else _attempt(lambda: streams.write("")) or code


def _attempt(call: Callable[[], Any]) -> int:
    try:
        result = call()
    except PoolctlError as error:
        return fail(error)
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        return int(Exit.INTERRUPTED)
    except typer.Exit as wanted:
        return int(wanted.exit_code)
    except BrokenPipeError as error:
        streams.refused(error)
        return int(Exit.DONE)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug becomes a file and one line
        if isinstance(error, _misuses()):
            return _misuse(error)
        return fail(GONE) if _is_gone() else _bug(error)
    return int(result) if isinstance(result, int) else int(Exit.DONE)


GONE = PoolctlError("the current directory does not exist any more", "change to one that does")


def _is_gone() -> bool:
    try:
        return not Path.cwd().is_dir()
    except OSError:
        return True


def _misuses() -> tuple[type[BaseException], ...]:
    """Return what typer raises for a wrong command line: found by its kin, as newer ones bring their own click."""
    return tuple(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _misuse(error: Any) -> int:
    context = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":
        say(context.get_help())
        return int(Exit.USAGE)
    command = context.command_path if context is not None else " ".join(["poolctl", *sys.argv[1:2]])
    return fail(PoolctlError(_one_line(error.format_message()), f"`{command} --help` shows what it takes"))


def _bug(error: Exception) -> int:
    from poolctl import __version__
    from poolctl.redact import scrub

    lines = [f"poolctl {__version__}, Python {sys.version}", " ".join(sys.argv)]
    lines += "".join(traceback.format_exception(error)).splitlines()
    text = "\n".join(line[: len(line) - len(line.lstrip())] + scrub(line) for line in lines) + "\n"
    where = _save(text)
    say(f"error: this is a bug in poolctl: {scrub(f'{type(error).__name__}: {error}')[:200]}")
    say(f"hint: please report it with {where}, where its traceback is" if where else text)
    return int(Exit.BUG)


def _save(text: str) -> str:
    try:
        handle, path = tempfile.mkstemp(prefix="poolctl-bug-", suffix=".txt")
        with os.fdopen(handle, "w") as file:
            file.write(text)
    except OSError:
        return ""
    return path


def _one_line(text: str) -> str:
    return " ".join(text.split())


def fail(error: PoolctlError) -> int:
    """Say what is wrong and what to do next, and return the code for it."""
    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")
    return int(error.exit_code)
