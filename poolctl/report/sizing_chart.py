"""Predictions -> a picture in characters: the p95 wait over the pool's size, and wait + hold above it.

In: the predictions of a Report. Out: lines of text without colour. On a logarithmic scale: between a pool that is too
small and one that is not lie three orders of magnitude.
"""

from __future__ import annotations

import math

from poolctl.report.chart import area
from poolctl.trace.report import Prediction, Report
from poolctl.units import format_seconds

LABEL = 11
FLOOR_S = 0.0005
"""What waits less than this lies on the axis."""
NARROW, BROAD = 4, 7
"""Columns of one size, at least and at most."""
RESPONSE = "•"


def curve(report: Report, width: int, height: int = 8) -> list[str]:
    """Return the picture, at most `width` columns wide; no lines where fewer than three sizes were predicted."""
    sizing = report.sizing
    shown = [p for p in (sizing.predictions if sizing else []) if p.max_overflow == 0 and p.wait_time_s.p95 is not None]
    shown = _thinned(shown, (width - LABEL - 2) // NARROW, _marked(report))
    if len(shown) < 3:
        return []
    each = max(NARROW, min(BROAD, (width - LABEL - 2) // len(shown)))
    waits = [p.wait_time_s.p95 or 0.0 for p in shown]
    responses = [(p.response_time_s.p95 if p.response_time_s else None) or 0.0 for p in shown]
    top = max(*waits, *responses, 10 * FLOOR_S)
    scale = math.log(top / FLOOR_S)
    heights = [max(0.0, math.log(max(value, FLOOR_S) / FLOOR_S)) for value in waits]
    rows = [list("".join(mark * (each - 1) + " " for mark in row)) for row in area(heights, scale, height)]
    for column, value in enumerate(responses):
        if value > FLOOR_S:
            level = min(height - 1, int(height * math.log(value / FLOOR_S) / scale))
            rows[height - 1 - level][column * each + (each - 1) // 2] = RESPONSE
    lines = []
    for number, row in enumerate(rows):
        at = FLOOR_S * math.exp(scale * (height - number) / height)
        label = format_seconds(at) if number % 2 == 0 else ""
        lines.append(f"{label:>{LABEL}} ┤{''.join(row)}".rstrip())
    lines.append(" " * LABEL + " └" + "─" * (each * len(shown)))
    lines.append(_axis("pool_size", [str(p.pool_size) for p in shown], each))
    lines.append(_axis("objective", [{None: " ", True: "✓", False: "✗"}[p.meets] for p in shown], each))
    marks = _marked(report)
    if any(p.pool_size in marks for p in shown):
        lines.append(_axis("", ["▲" if p.pool_size in marks else "" for p in shown], each))
    return [line.rstrip() for line in lines]


LEGEND = f"blocks: p95 wait; {RESPONSE} p95 of wait + hold; ▲ recommended or today; without overflow"


def _axis(name: str, texts: list[str], each: int) -> str:
    return f"{name:>{LABEL}}  " + "".join(f"{text:^{each - 1}} " for text in texts)


def _marked(report: Report) -> set[int]:
    best = report.sizing.recommended if report.sizing else None
    sizes = {report.target.settings.pool_size, best.pool_size if best else None}
    return {size for size in sizes if size is not None}


def _thinned(shown: list[Prediction], most: int, marked: set[int]) -> list[Prediction]:
    """Keep what fits: the first, the last and the marked sizes stay, of the others every n-th."""
    shown = sorted(shown, key=lambda p: p.pool_size)
    while len(shown) > max(most, 3):
        inner = [i for i in range(1, len(shown) - 1) if shown[i].pool_size not in marked]
        if not inner:
            break
        # The one whose neighbours are nearest says least.
        least = min(inner, key=lambda i: shown[i + 1].pool_size / max(shown[i - 1].pool_size, 1))
        del shown[least]
    return shown
