"""Silence: why no process of a command announced itself.

In: a command that was launched and its run directory. Out: one TargetError that says what to do. Looks at `guests.txt`,
in which each Python process writes a line at its start, and at the command's processes while there are any.
"""

from __future__ import annotations

import re

import psutil

from poolctl.errors import TargetError
from poolctl.target.launch import Command
from poolctl.trace.run import Run

_SHUT = re.compile(r"-[a-zA-Z]*[IES]")
"""Options of Python that keep PYTHONPATH or `sitecustomize` out."""
_WITH_VALUE = frozenset("cmWX")


def explain_silence(command: Command, run: Run) -> TargetError:
    """Return what to tell the user."""
    shut = _shut_option(command.pid)  # before anything else: it may end any moment
    guests = [line.split(" ", 3) for line in (run.path / "guests.txt").read_text().splitlines()]
    problems = [guest[3] for guest in guests if len(guest) == 4 and guest[2] == "problem"]
    ended = "" if command.code is None else f", which {command.describe_end()},"
    if problems:
        return TargetError(f"capture could not begin in {command.name}: {problems[-1]}", advice(problems[-1]))
    if guests:
        processes = len({guest[0] for guest in guests})
        count = f"{processes} Python processes ran" if processes > 1 else "a Python process ran"
        return TargetError(
            f"{count} in {command.name}{ended.rstrip(',')}, and none imported SQLAlchemy",
            "is it the command that serves requests? a longer window (--window 2m) waits longer for the import",
        )
    if shut:
        return TargetError(
            f"no process of {command.name} announced itself: Python runs with {shut}, which keeps capture out",
            f"leave {shut} away, or attach to the running process with --pid",
        )
    return TargetError(
        f"no process of {command.name}{ended} announced itself",
        "is it a Python program? -I, -E, -S and an emptied environment keep capture out; attach with --pid instead",
    )


def advice(problem: str) -> str:
    """Return what to do about a problem that a guest announced."""
    if "Python 3" in problem or "SQLAlchemy 2" in problem:
        return "watch it through its log (--log FILE)"
    if "still being imported" in problem:
        return "try again later"
    return "wait until its window is over" if "another poolctl" in problem else "report it with the versions there"


def _shut_option(pid: int) -> str | None:
    """Return the option of a running Python of this command that keeps capture out."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    for process in processes:
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if words and "python" in words[0].rpartition("/")[2]:
            for word in words[1:]:
                if not word.startswith("-"):
                    break
                if _SHUT.match(word):
                    return word
                if word[-1] in _WITH_VALUE or word.startswith("--"):
                    break
    return None
