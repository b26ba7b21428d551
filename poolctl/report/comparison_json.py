"""Comparison -> JSON: one document, `poolctl.comparison/1`."""

from __future__ import annotations

import json

from poolctl.report.style import Style
from poolctl.trace.comparison import Comparison


def render(comparison: Comparison, style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """Return the comparison as one JSON document; what could not be told is null."""
    return json.dumps(comparison.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
