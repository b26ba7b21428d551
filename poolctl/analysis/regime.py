"""Regime: how long a trace has to be to speak for its traffic, and whether this one is.

In: request instants (seconds). Out: the time scale on which counts are still correlated, and a verdict with reasons.
Knows nothing of pools beyond a function that sizes a part of the trace. From measurements (notes on sizing, "not
enough data"): a recommendation's interval covers the truth only where the trace is 25 such time scales long and its
quarters agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from poolctl.analysis.pool_rules import Floats
from poolctl.units import format_seconds

SCALES_NEEDED = 25
SETTLES = 1.3
"""The index of dispersion still rises while doubling the window multiplies it by this."""
LONG_ENOUGH_S = 300.0
"""Shorter traces cannot know whether there is a slow cycle: never better than medium confidence."""


@dataclass(frozen=True)
class Regime:
    """What the trace can speak for."""

    duration_s: float
    scale_s: float
    """Beyond this window counts are no longer more bursty; at least this much where `settled` is False."""
    settled: bool
    burstiness: float
    """Index of dispersion of counts at that scale: 1 for Poisson."""
    quarters: list[int] = field(default_factory=list)
    """The size that each quarter of the trace asks for."""
    reasons: list[str] = field(default_factory=list)
    """Why the trace is too short for its regime; empty when it is not."""

    @property
    def enough(self) -> bool:
        """Whether the trace is long enough for its own traffic."""
        return not self.reasons


def dispersion(at_s: Floats, window_s: float) -> float:
    """Return the index of dispersion of counts (variance ÷ mean) in windows of this length, half overlapping."""
    if len(at_s) < 2:
        return 1.0
    half = window_s / 2
    edges = np.arange(at_s[0], at_s[-1], half)
    if len(edges) < 4:
        return 1.0
    counts = np.histogram(at_s, bins=np.append(edges, edges[-1] + half))[0][:-1]
    pairs = counts[1:] + counts[:-1]
    return float(pairs.var() / pairs.mean()) if pairs.mean() > 0 else 1.0


def time_scale(at_s: Floats) -> tuple[float, bool, float]:
    """Return (scale in seconds, settled, index of dispersion there): the last window after which doubling adds
    nothing."""
    if len(at_s) < 32:
        return 0.0, False, 1.0
    span = float(at_s[-1] - at_s[0])
    window = min(max(10 * span / len(at_s), 0.05), span / 8)
    windows = [window]
    while windows[-1] * 2 <= span / 8:
        windows.append(windows[-1] * 2)
    indices = [max(dispersion(at_s, window), 1e-9) for window in windows]
    rising = [k for k in range(1, len(windows)) if indices[k] >= SETTLES * indices[k - 1] and indices[k] > 1.5]
    last = rising[-1] if rising else 0
    return windows[last], last < len(windows) - 1 or last == 0, indices[last]


def judge(at_s: Floats, quarters: list[int], duration_s: float) -> Regime:
    """Judge the trace: its length against its time scale, and its quarters against each other.

    `at_s` may be windows of a run that lasted `duration_s`.
    """
    span = duration_s
    scale, settled, index = time_scale(at_s)
    reasons = []
    if not settled:
        reasons.append(
            f"bursts last as long as an eighth of the run ({format_seconds(scale)} of {format_seconds(span)}) or longer"
        )
    elif span < SCALES_NEEDED * scale:
        reasons.append(
            f"the run lasts {format_seconds(span)}, its bursts correlate over {format_seconds(scale)}: "
            f"{format_seconds(SCALES_NEEDED * scale)} are needed"
        )
    if quarters and max(quarters) - min(quarters) > max(1, 0.15 * max(quarters)):
        reasons.append(f"its quarters ask for different sizes: {', '.join(map(str, quarters))}")
    return Regime(span, scale, settled, index, quarters, reasons)
