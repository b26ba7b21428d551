"""Lists of whole numbers as they are typed: `4,6,8-12`."""

from __future__ import annotations

import re

from poolctl.errors import UsageError

MOST = 2_000
"""The largest number, as no pool is larger."""
MOST_AT_ONCE = 60


def numbers(text: str | None, option: str, *, least: int) -> tuple[int, ...]:
    """Return the whole numbers of `4,6,8-12`, sorted. Raises UsageError."""
    if text is None:
        return ()
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise UsageError(f"{option}: cannot read {text!r}", "write it as 4,6,8-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if not least <= first <= last <= MOST:
            raise UsageError(f"{option}: {part.strip()!r} is not within {least} to {MOST}", "write it as 4,6,8-12")
        found |= set(range(first, last + 1))
    if len(found) > MOST_AT_ONCE:
        raise UsageError(f"{option}: {len(found)} numbers are too many", f"give at most {MOST_AT_ONCE}")
    return tuple(sorted(found))
