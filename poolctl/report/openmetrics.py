"""Report or Comparison -> OpenMetrics text: what GitLab compares between branches (`artifacts:reports:metrics`).

One gauge a number, in base units (seconds, ratios), labelled with the scenario. What could not be told is left out.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from poolctl.report import openmetrics_pools
from poolctl.report.style import Style
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Dist, Report

QUANTILES = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99"}
CODES = {"pass": 0, "fail": 1, "inconclusive": 2}

Family = tuple[str, str, list[tuple[dict[str, str], float | None]]]
"""Name, help, samples (labels, value)."""


def render(report: Report, style: Style) -> str:
    """Return the numbers of a run."""
    return render_all([report], style)


def render_all(reports: Sequence[Report], style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """Return the numbers of several runs: each family once, a sample a run; runs of one name are told apart."""
    names = [report.run.scenario or report.command for report in reports]
    labels = [
        {"scenario": name} | ({"run": report.run.id} if names.count(name) > 1 else {})
        for report, name in zip(reports, names, strict=True)
    ]
    families: dict[str, Family] = {}
    for report, label in zip(reports, labels, strict=True):
        for family, text, samples in _families(report, label):
            families.setdefault(family, (family, text, []))[2].extend(samples)
    pools = openmetrics_pools.lines(list(zip(reports, labels, strict=True)), _labels)
    return document(list(families.values()), pools)


def _families(report: Report, label: dict[str, str]) -> list[Family]:
    families: list[Family] = []
    for field in dataclasses.fields(report.times):
        dist: Dist | None = getattr(report.times, field.name)
        if dist is not None and dist.count:
            name = field.name.removesuffix("_s")
            samples = [({**label, "quantile": q}, getattr(dist, key)) for key, q in QUANTILES.items()]
            families.append((f"poolctl_{name}_seconds", f"Quantiles of the {name.replace('_', ' ')}", samples))
    ends = dataclasses.asdict(report.leases)
    total = ends.pop("total")
    spoken = Counter((finding.code, finding.slug, finding.severity.value) for finding in report.findings)
    families += [
        ("poolctl_requests", "Requests for a connection", [(label, float(total))]),
        (
            "poolctl_request_ends",
            "Requests by how they ended",
            [({**label, "end": end}, float(n)) for end, n in ends.items()],
        ),
        ("poolctl_peak_checked_out", "Most connections held at once", [(label, float(report.pool.peak_checked_out))]),
        ("poolctl_peak_waiting", "Most requests waiting at once", [(label, _known(report.pool.peak_waiting))]),
        ("poolctl_utilisation_ratio", "Mean connections held ÷ capacity", [(label, report.pool.utilisation)]),
        ("poolctl_connects_per_1000", "Connections opened per 1,000", [(label, report.pool.connects_per_1000)]),
        ("poolctl_findings", "Findings", [(label, float(len(report.findings)))]),
        (
            "poolctl_finding",
            "How often each rule spoke",
            [
                ({**label, "code": code, "slug": slug, "severity": severity}, float(count))
                for (code, slug, severity), count in spoken.items()
            ],
        ),
        ("poolctl_diagnosis", "1 for the verdict", [({**label, "verdict": report.verdict}, 1.0)]),
        ("poolctl_exit_code", "Exit code of the gate", [(label, float(report.exit_code))]),
    ]
    return families


def render_comparison(comparison: Comparison, style: Style) -> str:  # noqa: ARG001
    """Return the ratios and verdicts of a comparison."""
    ratios: Family = ("poolctl_change_ratio", "Head ÷ base", [])
    low: Family = ("poolctl_change_low_ratio", "Lower limit of head ÷ base", [])
    high: Family = ("poolctl_change_high_ratio", "Upper limit of head ÷ base", [])
    verdicts: Family = ("poolctl_verdict", "0 pass, 1 fail, 2 inconclusive", [])
    for against in comparison.scenarios:
        verdicts[2].append(({"scenario": against.scenario, "measure": "all"}, float(CODES[against.verdict])))
        for row in against.measures:
            label = {"scenario": against.scenario, "measure": row.name}
            ratios[2].append((label, row.ratio))
            low[2].append((label, row.ci[0] if row.ci else None))
            high[2].append((label, row.ci[1] if row.ci else None))
            verdicts[2].append((label, float(CODES[row.verdict])))
    code: Family = ("poolctl_exit_code", "Exit code of the gate", [({}, float(comparison.exit_code))])
    return document([ratios, low, high, verdicts, code])


def document(families: list[Family], more: Sequence[str] = ()) -> str:
    """Return the families as an exposition, ended as the format wants it; `more` are lines of others."""
    lines = []
    for name, text, samples in families:
        known = [(labels, value) for labels, value in samples if value is not None and math.isfinite(value)]
        if known:
            lines += [f"# TYPE {name} gauge", f"# HELP {name} {_escape(text)}"]
            lines += [f"{name}{_labels(labels)} {value!r}" for labels, value in known]
    return "\n".join([*lines, *more, "# EOF"]) + "\n"


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in labels.items()) + "}" if labels else ""


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _known(count: int | None) -> float | None:
    return None if count is None else float(count)
