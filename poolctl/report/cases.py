"""Cases: a report or a comparison as a list of checks with an outcome, for formats that machines of CI read.

In: a Report or a Comparison. Out: `Suite`s of `Case`s. One case an objective, a rule, a check of validity; or a case a
measure that may decide. Knows no markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from poolctl.analysis.findings import REGISTRY
from poolctl.analysis.phrases import sentence
from poolctl.report import tables
from poolctl.report.sentences import near
from poolctl.trace.comparison import Comparison, Role
from poolctl.trace.report import Finding, ObjectiveResult, Outcome, Report, Severity


class Says(StrEnum):
    """What a case says."""

    GOOD = "pass"
    BAD = "fail"
    DOUBT = "inconclusive"
    NOTED = "noted"
    """Something was found that does not decide the gate."""


OUTCOMES = {Outcome.PASS: Says.GOOD, Outcome.FAIL: Says.BAD, Outcome.INCONCLUSIVE: Says.DOUBT}


@dataclass(frozen=True, slots=True)
class Case:
    """One check."""

    group: str
    """objective | rule | validity | structure | primary | guard."""
    name: str
    says: Says
    message: str = ""
    """One line."""
    detail: str = ""
    """More lines."""
    severe: bool = False
    """A finding from severity error on."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The cases of a run, or of a scenario of a comparison."""

    name: str
    cases: list[Case]
    summary: str
    started_at: str = ""
    """ISO 8601, or empty."""
    duration_s: float = 0.0
    facts: tuple[tuple[str, str], ...] = ()


def of_report(report: Report) -> Suite:
    """Return the checks of a run."""
    cases = [_objective(result) for result in report.objectives]
    found: dict[str, list[Finding]] = {}
    for finding in report.findings:
        found.setdefault(finding.code, []).append(finding)
    for code, rule in REGISTRY.items():
        cases.append(_rule(f"{code} {rule.RULE.slug}", found.get(code, []), report.fail_on))
    cases += [
        Case("validity", check.check, Says.GOOD if check.ok else Says.DOUBT, "" if check.ok else check.detail)
        for check in report.validity
    ]
    facts = (
        ("run", report.run.id),
        ("seed", str(report.run.seed)),
        ("verdict", report.verdict),
        ("exit code", str(report.exit_code)),
    )
    name = report.run.scenario or report.command
    return Suite(name, cases, report.summary, report.run.started_at, report.run.duration_s, facts)


def of_comparison(comparison: Comparison) -> list[Suite]:
    """Return the checks of each scenario; advisory measures are none."""
    return [
        Suite(
            against.scenario,
            [
                Case(row.role.value, row.name, OUTCOMES[row.verdict], sentence(row))
                for row in against.measures
                if row.role is not Role.ADVISORY
            ]
            + ([Case("gate", "verdict", Says.DOUBT, against.reason)] if _only_whole(against.verdict) else []),
            f"{against.verdict}: {against.reason}",
            facts=(("base", comparison.base), ("head", comparison.head), ("margin", f"{comparison.margin:g}")),
        )
        for against in comparison.scenarios
    ]


def _only_whole(verdict: Outcome) -> bool:
    """Whether the scenario as a whole is open, whatever its measures say: too many runs that do not count."""
    return verdict is Outcome.INCONCLUSIVE


def _objective(result: ObjectiveResult) -> Case:
    measured = f"measured {tables.objective_value(result, result.value)}"
    message = f"{measured}: {result.reason}" if result.reason else measured
    return Case("objective", result.objective, OUTCOMES[result.verdict], message)


def _rule(name: str, found: list[Finding], fail_on: str | None) -> Case:
    if not found:
        return Case("rule", name, Says.GOOD)
    decisive = fail_on is not None and any(one.severity.rank >= Severity(fail_on).rank for one in found)
    worst = max(found, key=lambda one: one.severity.rank)
    lines = [line for one in found for line in (near(one.title), *map(near, one.evidence), f"→ {near(one.advice)}")]
    return Case(
        group="rule",
        name=name,
        says=Says.BAD if decisive else Says.NOTED,
        message=f"{worst.severity}: {near(worst.title)}",
        detail="\n".join(lines),
        severe=worst.severity.rank >= Severity.ERROR.rank,
    )
