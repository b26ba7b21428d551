"""What a format may know of where its text goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Style:
    """How to lay a report out. Formats that are not for a screen ignore it."""

    width: int = 100
    """Columns."""
    color: bool = False
    """Whether ANSI sequences are welcome."""
