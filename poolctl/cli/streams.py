"""stdout and stderr, and what can be wrong with them: no terminal, no reader, no room, never opened.

stdout carries the report and nothing else; everything said on the way goes to stderr.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from typing import TYPE_CHECKING, TextIO

from poolctl.errors import OutputError

if TYPE_CHECKING:
    import logging

PIPED_WIDTH = 100
"""Columns when stdout is no terminal and COLUMNS says nothing."""


def width() -> int:
    """Return the columns of stdout."""
    return max(60, shutil.get_terminal_size((PIPED_WIDTH, 40)).columns)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a screen can be drawn there: a terminal that knows how to move its cursor."""
    return stream is not None and not stream.closed and stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_color(stream: TextIO | None) -> bool:
    """Whether colours are welcome there: a terminal, and NO_COLOR does not forbid them."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def hanging(head: str, text: str) -> str:
    """Return `head` and `text` beside it, wrapped to the width of stdout."""
    indent = " " * len(head)
    return textwrap.fill(text, width(), initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)


def write(text: str) -> None:
    """Write to stdout as UTF-8, whatever the locale, and empty its buffer.

    A reader that has gone is quiet; raises OutputError for a full disk.
    """
    if sys.stdout is None:
        return
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="replace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        refused(error)


def refused(error: OSError) -> None:
    """Let what is still buffered for stdout go nowhere, or Python would try and complain again at exit.

    Raises OutputError unless it was the reader who went.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if not isinstance(error, BrokenPipeError):
        raise OutputError(f"cannot write to stdout: {error.strerror}", "free some space there") from None


def log(logger: logging.Logger) -> None:
    """Have everything that a logger of ours is told written to stderr, with its time (UTC)."""
    import logging

    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers[:] = [handler]


def say(line: str) -> None:
    """Write a line to stderr; nobody there to read it is no reason to stop."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # closed, or never open (None)
        return
