"""Rule: what every rule has, and what several of them need to say.

In: a View. Out: `Rule`, which makes Findings. A rule is a module of `analysis.rules`: its docstring is its manual
(what it detects, why it matters, how to fix it, when it is wrong), RULE says who it is, `check(view)` yields what it
found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from poolctl.analysis.breakdown import time_values
from poolctl.analysis.stats import quantile
from poolctl.analysis.sweep import Floats
from poolctl.analysis.view import Bools, View
from poolctl.trace.report import Finding, Severity, SiteRow
from poolctl.units import format_seconds

MANUAL_PARTS = ("What it detects", "Why it matters", "How to fix it", "When it is wrong")
"""The headings of every manual."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who a rule is."""

    code: str
    """`PC` and three digits; never used again once retired."""
    slug: str
    severity: Severity
    """Unless the finding says otherwise."""

    def finding(
        self,
        title: str,
        evidence: Sequence[str],
        advice: str,
        *,
        severity: Severity | None = None,
        confidence: str = "high",
        sites: Sequence[str] = (),
    ) -> Finding:
        """Return a finding of this rule."""
        worst = severity or self.severity
        return Finding(self.code, self.slug, worst, confidence, title, list(evidence), advice, list(sites))


class RuleModule(Protocol):
    """What the registry holds."""

    __doc__: str | None
    RULE: Rule

    def check(self, view: View) -> Iterator[Finding]:
        """Yield what is wrong."""
        ...


def graded(value: float, warning: float, alert: float) -> Severity | None:
    """Return the severity of a value above its thresholds; None when it is healthy."""
    if value > alert:
        return Severity.ERROR
    return Severity.WARNING if value > warning else None


def suffers(view: View) -> bool:
    """Whether requests suffered: one timed out, or the p95 of the acquire time is above the policy."""
    p95 = quantile(np.sort(time_values(view, "acquire")), 0.95)
    return view.timed_out > 0 or (p95 is not None and p95 > view.policy.acquire_time_warning_s)


def bands(measured: str, warning: float, alert: float, show: Callable[[float], str] = format_seconds) -> str:
    """Return evidence: what was measured, beside the thresholds used."""
    return f"{measured}; warning above {show(warning)}, alert above {show(alert)}"


def sites_of(view: View, chosen: Bools, weights: Floats | None = None, most: int = 5) -> list[str]:
    """Return the sites of the chosen leases, those with the most (or the most weight) first."""
    site, names = view.codes("site")
    known = chosen & (site >= 0)
    if not known.any():
        return []
    totals = np.bincount(site[known], None if weights is None else weights[known], minlength=len(names))
    return [names[number] for number in np.argsort(-totals, kind="stable")[:most] if totals[number] > 0]


def idle_until(view: View, site: str) -> list[str]:
    """Return the lines before which leases of a site were idle; one of the same function as `line 84`."""
    place, _, function = site.rpartition(" ")
    file = place.rpartition(":")[0]
    found = []
    for line in view.tables.told.idle_until.get(site, []):
        same = line.startswith(file + ":") and line.endswith(" " + function)
        found.append(f"line {line.removeprefix(file + ':').removesuffix(' ' + function)}" if same else line)
    return found


def named(row: SiteRow) -> str:
    """Return a row of the site table as a text: its site, and its context where it has one."""
    return f"{row.site} ({row.context})" if row.context else row.site


def times(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural where it is one: `1 lease`, `2,000 leases`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def where(sites: Sequence[str]) -> str:
    """Return `at …` for advice that names a line; empty when the line is unknown."""
    return f" at {sites[0]}" if sites else ""
