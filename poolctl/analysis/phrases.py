"""Phrases: the rows of a comparison in words and numbers for a person.

In: rows of a comparison. Out: text. Computes nothing.
"""

from __future__ import annotations

from poolctl.trace.comparison import Measure
from poolctl.trace.report import Outcome
from poolctl.units import format_seconds, format_share


def sentence(row: Measure) -> str:
    """Say what a row found, with its numbers."""
    said = f"{row.name} {show(row, row.base)} → {show(row, row.head)}"
    if row.ratio is not None:
        said += f" ({percent(row.ratio - 1, sign=True)}"
        said += f", {percent(row.ci[0] - 1, sign=True)} to {percent(row.ci[1] - 1, sign=True)})" if row.ci else ")"
    if row.reason:
        said += f": {row.reason}"
    elif row.verdict is Outcome.INCONCLUSIVE and row.mde is not None:
        said += f": such runs show an effect of {percent(row.mde)} or more"
    return said


def show(row: Measure, value: float | None) -> str:
    """Return a value of the row's measure as a person reads it."""
    if value is None:
        return "—"
    if row.unit == "s":
        return format_seconds(value)
    if row.unit == "share":
        return format_share(value)
    return f"{value:,.0f}" if row.unit == "count" else f"{value:,.3g}"


def percent(value: float, *, sign: bool = False) -> str:
    """Return a relative difference in percent with one decimal below ten."""
    number = f"{abs(100 * value):.1f}" if abs(value) < 0.0995 else f"{abs(100 * value):,.0f}"
    return f"{('−' if value < 0 else '+') if sign else ''}{number} %"
