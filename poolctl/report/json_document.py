"""Report -> JSON: the contract of DESIGN.md section 5, one document."""

from __future__ import annotations

import json

from poolctl.report.style import Style
from poolctl.trace.report import Report


def render(report: Report, style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """Return the report as one JSON document; NaN and infinities are null."""
    return json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
