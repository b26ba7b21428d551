"""Report -> JSON: the contract of DESIGN.md section 5, one document."""

from __future__ import annotations

import json
from collections.abc import Sequence

from poolctl.report.style import Style
from poolctl.trace.report import Report


def render(report: Report, style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """Return the report as one JSON document; NaN and infinities are null."""
    return json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def render_all(reports: Sequence[Report], style: Style) -> str:
    """Return several reports as one JSON array."""
    return "[\n" + ",\n".join(render(report, style).rstrip("\n") for report in reports) + "\n]\n"
