"""The only clock. Everything below the CLI takes its time from here, so that tests can replace it.

Instants are integer nanoseconds of CLOCK_MONOTONIC, which every process of one machine shares; a wall-clock
anchor in `run.json` maps them to dates.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

NS = 1_000_000_000
"""Nanoseconds in a second."""

monotonic_ns = time.perf_counter_ns
"""Now, in nanoseconds of CLOCK_MONOTONIC (what perf_counter reads on Linux)."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """One instant on both clocks."""

    monotonic_ns: int
    """CLOCK_MONOTONIC, nanoseconds."""
    wall_ns: int
    """Nanoseconds since the Unix epoch."""

    @classmethod
    def now(cls) -> Anchor:
        """Read both clocks, back to back."""
        return cls(monotonic_ns(), time.time_ns())

    def date(self, at: int) -> datetime:
        """Return the UTC date of the monotonic instant `at` (nanoseconds)."""
        return datetime.fromtimestamp((self.wall_ns + at - self.monotonic_ns) / NS, UTC)
