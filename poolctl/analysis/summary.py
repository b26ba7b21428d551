"""Summary: from a recorded run to its Report. The one entry point of the analysis.

In: a run, the settings (objectives, gate, thresholds). Out: the whole Report, verdict and exit code included. Knows no
format and prints nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from poolctl.analysis import breakdown, findings, gate, occupancy, validity
from poolctl.analysis.backends import backends, server_blind
from poolctl.analysis.leases import Tables, tables
from poolctl.analysis.long_leases import long_leases
from poolctl.analysis.objectives import Objective, parse
from poolctl.analysis.pool_metrics import pool_metrics
from poolctl.analysis.verdict import decide
from poolctl.analysis.verdict_facts import Facts
from poolctl.analysis.view import View, looked_around
from poolctl.config import Settings
from poolctl.errors import Exit
from poolctl.trace.report import (
    Finding,
    ObjectiveResult,
    Outcome,
    PoolSettings,
    ProxyInfo,
    Report,
    RunInfo,
    ServerInfo,
    Severity,
    Sizing,
    TargetInfo,
    ValidityCheck,
)
from poolctl.trace.run import Run
from poolctl.units import format_seconds

TARGET_LOST, INTERRUPTED = "target lost", "interrupted"
"""Ends of a run (run.json) that decide the exit code."""


Sizer = Callable[[View, Sequence[Objective]], Sizing]
"""What answers for the size, where the run allows an answer."""


def analyse(run: Run, settings: Settings | None = None, sizer: Sizer | None = None) -> Report:
    """Return the report of a run. Raises InputError when the run cannot be read, UsageError for a bad objective.

    `sizer` sizes the run (default: `sized` without wishes). Of the settings are used: `slo` (replaces the objectives
    that the run was recorded with), `fail_on`, `inconclusive` and `policy`.
    """
    settings = settings or Settings()
    made = tables(run)
    objectives = [parse(text) for text in settings.slo or made.meta.get("objectives") or ()]
    view = View(made, target_of(made), settings.policy, objectives=objectives, **looked_around(run.path))
    load = validity.load_info(view)
    checks = validity.checks(view, load)
    invalid = validity.why_invalid(checks)
    results = [gate.judge(objective, view, invalid) for objective in objectives]
    found = findings.find(view)
    sizing = _sizing(view, objectives, checks, sizer or sized)
    found = findings.with_size(found, sizing, view.settings)
    verdict = decide(Facts(view, checks, found, results, sizing))
    code = exit_code(str(made.meta.get("end") or ""), results, found, bool(invalid), settings)
    return Report(
        command=str(made.meta.get("command") or "report"),
        verdict=verdict.name,
        summary=_until(str(made.meta.get("end") or ""), made.length_s, verdict.sentence),
        exit_code=int(code),
        run=_run_info(run, made),
        target=dataclasses.replace(view.target, settings=view.settings),
        load=load,
        validity=checks,
        leases=occupancy.lease_counts(view),
        times=breakdown.times(view),
        pool=occupancy.pool_info(view),
        sites=view.sites,
        findings=found,
        objectives=results,
        sizing=sizing,
        capture=made.capture,
        evidence=verdict.evidence,
        confidence=verdict.confidence,
        next_step=verdict.next_step,
        culprits=verdict.sites,
        long_leases=long_leases(view),
        backends=backends(view),
        server_blind=server_blind(view),
        fail_on=settings.fail_on,
        metrics=pool_metrics(view),
    )


def exit_code(
    end: str, results: Sequence[ObjectiveResult], found: Sequence[Finding], invalid: bool, settings: Settings
) -> Exit:
    """Return the code of DESIGN.md section 3: how the run ended, then the gate.

    A failed gate is worse than an inconclusive one; `settings.inconclusive` says what the latter counts as. Without
    objectives, a run that is not valid is inconclusive.
    """
    if end == INTERRUPTED:
        return Exit.INTERRUPTED
    if end == TARGET_LOST:
        return Exit.TARGET
    worst = max((finding.severity.rank for finding in found), default=-1)
    if settings.fail_on is not None and worst >= Severity(settings.fail_on).rank:
        return Exit.GATE_FAILED
    verdicts = {result.verdict for result in results}
    if Outcome.FAIL in verdicts:
        return Exit.GATE_FAILED
    if invalid or Outcome.INCONCLUSIVE in verdicts:
        counts_as = {"pass": Exit.DONE, "fail": Exit.GATE_FAILED}
        return counts_as.get(settings.inconclusive or "", Exit.INCONCLUSIVE)
    return Exit.DONE


def _until(end: str, length_s: float, sentence: str) -> str:
    """Say first that a run was cut short: its verdict is about what came before."""
    cut = {TARGET_LOST: "The server was lost", INTERRUPTED: "Interrupted", "worker died": "A worker died"}.get(end)
    if not cut:
        return sentence
    return f"{cut} after {format_seconds(length_s)}; until then: {sentence[0].lower()}{sentence[1:]}"


def target_of(made: Tables) -> TargetInfo:
    """Return what run.json says was watched; what it does not say is `?` or None."""
    said: dict[str, Any] = made.meta.get("target") or {}
    return TargetInfo(
        dialect=str(said.get("dialect") or "?"),
        driver=str(said.get("driver") or "?"),
        pool_class=str(said.get("pool_class") or (made.pools[0].pool_class if made.pools else "?")),
        settings=PoolSettings(**_known(PoolSettings, said.get("settings"))),
        server=ServerInfo(**_known(ServerInfo, said.get("server"))),
        proxy=ProxyInfo(**_known(ProxyInfo, said["proxy"])) if said.get("proxy") else None,
    )


def _known(kind: Any, said: Any) -> dict[str, Any]:
    names = [entry.name for entry in dataclasses.fields(kind)]
    return {name: value for name, value in (said or {}).items() if name in names}


def _run_info(run: Run, made: Tables) -> RunInfo:
    meta = made.meta
    return RunInfo(
        id=run.id,
        path=str(run.path),
        scenario=meta.get("scenario"),
        seed=meta.get("seed"),
        started_at=str(meta.get("started_at") or ""),
        duration_s=made.length_s,
        processes=int(meta.get("processes") or 1),
    )


def _sizing(
    view: View, objectives: Sequence[Objective], checks: Sequence[ValidityCheck], sizer: Sizer
) -> Sizing | None:
    """Ask for a size; what was recorded by a bottleneck, or with holes, is not worth advice."""
    if not len(view.tables.leases):
        return None
    partial = (validity.CAPTURED, validity.WHOLE_CYCLE)
    wrong = validity.bottlenecks(list(checks)) + [c for c in checks if not c.ok and c.check in partial]
    if wrong:
        text = " and ".join(objective.text for objective in objectives)
        return Sizing(text, None, "none", f"no advice: {'; '.join(check.detail for check in wrong)}", None)
    return sizer(view, objectives)


def sized(view: View, objectives: Sequence[Objective], **wanted: Any) -> Sizing:
    """Return the sizing of a run; `wanted` is passed on to `sizing.recommend`."""
    from poolctl.analysis.case import Wishes
    from poolctl.analysis.sizing import recommend

    wishes: Wishes = wanted.pop("wishes", Wishes())
    if wishes.idle_limit_s is None:
        wishes = dataclasses.replace(wishes, idle_limit_s=idle_limit(view.target))
    if wishes.deadline_s is None and math.isfinite(view.policy.caller_timeout_s):
        wishes = dataclasses.replace(wishes, deadline_s=view.policy.caller_timeout_s)
    return recommend(
        view.tables,
        view.settings,
        objectives,
        server=wanted.pop("server", view.target.server),
        processes=int(view.tables.meta.get("processes") or 1),
        seed=int(view.tables.meta.get("seed") or 0),
        wishes=wishes,
        **wanted,
    )


def idle_limit(target: TargetInfo) -> float | None:
    """Return the shortest idle timeout that is known of server and proxy; None: none is."""
    known = [target.server.idle_timeout_s, target.proxy.client_idle_timeout_s if target.proxy else None]
    return min((each for each in known if each), default=None)
