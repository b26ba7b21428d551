"""Report -> sentences and blocks of plain text that several formats share.

In: a Report. Out: strings and lists of lines, without markup.
"""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path

from poolctl.errors import Exit
from poolctl.trace.report import Finding, Outcome, PoolSettings, Report, TargetInfo, ValidityCheck
from poolctl.trace.run import DEFAULT_ROOT
from poolctl.units import format_rate, format_seconds, format_share

DASH = "—"
VALID_FOR, SUPPOSED = "valid for ", "what if: "
"""How the notes of a sizing begin that are also shown at the top."""
GATE = {
    Exit.DONE: "passed",
    Exit.GATE_FAILED: "FAILED",
    Exit.TARGET: "target lost",
    Exit.INCONCLUSIVE: "INCONCLUSIVE",
    Exit.INTERRUPTED: "interrupted",
}


def overview(report: Report) -> list[tuple[str, str]]:
    """The run in a few labelled lines: gate, advice in short, what was run, on what."""
    lines = [("gate", gate(report))]
    if report.sizing:
        lines.append(("advice", advice(report)))
    run = report.run
    parts = [
        run.scenario or report.command,
        f"seed {run.seed}" if run.seed is not None else "",
        format_seconds(run.duration_s),
    ]
    parts.append(f"{run.processes} process{'es' if run.processes != 1 else ''}")
    lines.append(("run", " · ".join(part for part in [*parts, run.id] if part)))
    lines.append(("target", target(report)))
    return lines


def sizing_overview(report: Report) -> list[tuple[str, str]]:
    """What `poolctl size` says first: the advice, the traffic that it holds for, the run, the target."""
    lines = [("advice", advice(report))]
    if report.sizing:
        lines += [("valid for", note.removeprefix(VALID_FOR)) for note in report.sizing.notes if VALID_FOR in note]
        lines += [
            ("supposed", note.removeprefix(SUPPOSED)) for note in report.sizing.notes if note.startswith(SUPPOSED)
        ]
    parts = [report.run.scenario or "", format_seconds(report.run.duration_s), report.run.id]
    return [*lines, ("run", " · ".join(part for part in parts if part)), ("target", target(report))]


def seen(report: Report) -> str:
    """How much a verdict rests on, and how sure it is."""
    parts = [
        f"confidence {report.confidence}" if report.confidence else "",
        f"{report.leases.total:,} requests in {format_seconds(report.run.duration_s)}",
        f"{report.run.processes} process{'es' if report.run.processes != 1 else ''}",
    ]
    return " · ".join(part for part in parts if part)


def gate(report: Report) -> str:
    """What the exit code says, and why."""
    code = report.exit_code
    word = GATE.get(Exit(code), "") if code in list(Exit) else ""
    return f"{word} (exit code {code}): {'; '.join(_reasons(report))}"


def _reasons(report: Report) -> list[str]:
    results = report.objectives
    missed = sum(result.verdict is Outcome.FAIL for result in results)
    unsure = sum(result.verdict is Outcome.INCONCLUSIVE for result in results)
    reasons = []
    if missed:
        reasons.append(f"{missed} of {len(results)} objectives missed")
    if unsure:
        reasons.append(f"{unsure} of {len(results)} objectives inconclusive")
    if report.exit_code == Exit.GATE_FAILED and not missed:
        reasons.append("a finding is at or above --fail-on" if not unsure else "inconclusive counts as failed")
    if not results:
        reasons.append("no objective was set")
    elif not reasons:
        reasons.append("the objective is met" if len(results) == 1 else f"all {len(results)} objectives met")
    if failed := [check.check for check in report.validity if not check.ok]:
        reasons.append(f"the run itself is not valid: {', '.join(failed)}")
    return reasons


def advice(report: Report) -> str:
    """The recommendation in one line."""
    sizing = report.sizing
    if sizing is None or sizing.recommended is None:
        return sizing.reason if sizing else "none"
    best, today = sizing.recommended, report.target.settings
    sure = f"(confidence {sizing.confidence})"
    if (best.pool_size, best.max_overflow) == (today.pool_size, today.max_overflow):
        return f"keep {size(today)} {sure}"
    return f"pool_size={best.pool_size}, max_overflow={best.max_overflow} instead of {size(today)} {sure}"


def size(settings: PoolSettings) -> str:
    """`5 + 10`, or `no limit`."""
    if settings.pool_size is None:
        return "no pool size"
    if settings.capacity == float("inf"):
        return f"{settings.pool_size} + unlimited"
    return f"{settings.pool_size} + {settings.max_overflow}"


def target(report: Report) -> str:
    """The target and its pool in one line."""
    t, s = report.target, report.target.settings
    parts = [f"{t.dialect}+{t.driver}"]
    server = t.server
    if server.version:
        parts[0] += f" {server.version}"
    pool = f"{t.pool_class} {size(s)}" if s.pool_size is not None else t.pool_class
    if s.pool_timeout_s is not None:
        pool += f", timeout {format_seconds(s.pool_timeout_s)}"
    parts.append(pool)
    if server.max_connections is not None:
        others = f", {server.in_use} used by others" if server.in_use else ""
        parts.append(f"max_connections {server.max_connections}{others}")
    if (proxy := t.proxy) is not None:
        mode = f" ({proxy.pool_mode} mode)" if proxy.pool_mode else ""
        parts.append(f"through {proxy.name}{f' {proxy.version}' if proxy.version else ''}{mode}")
    return " · ".join(parts)


def paste(report: Report) -> list[str]:
    """The recommendation as Python to paste, today's values beside it; empty when there is none."""
    if report.sizing is None or report.sizing.recommended is None:
        return []
    best, today = report.sizing.recommended, report.target.settings
    rows = [
        ("pool_size", best.pool_size, today.pool_size),
        ("max_overflow", best.max_overflow, today.max_overflow),
        ("pool_timeout", best.pool_timeout_s, today.pool_timeout_s),
        ("pool_recycle", best.pool_recycle_s, today.pool_recycle_s),
        ("pool_pre_ping", best.pre_ping, today.pre_ping),
        ("pool_use_lifo", best.lifo, today.lifo),
    ]
    # What is not said stays as it is; so do switches that stay: they would only be noise.
    rows = [row for row in rows if row[1] is not None and not (isinstance(row[1], bool) and row[1] == row[2])]
    if not rows:
        return []
    arguments = [f"    {name}={_literal(value)}," for name, value, _ in rows]
    width = max(map(len, arguments))
    create = "create_async_engine" if "Async" in report.target.pool_class else "create_engine"
    lines = [
        f"{argument:<{width}}  # {_beside(name, value, old)}"
        for argument, (name, value, old) in zip(arguments, rows, strict=True)
    ]
    return [f"engine = {create}(", "    url,", *lines, ")"]


def _beside(name: str, value: float | None, old: float | None) -> str:
    if name == "pool_recycle" and (old is None or old < 0):
        return "today never"
    if old is None:
        return "today not set"
    return "as today" if value == old else f"today {_literal(old)}"


def _literal(value: float | None) -> str:
    return repr(value) if isinstance(value, bool) or value is None else f"{value:.12g}"


def model(report: Report) -> str:
    """Where the predictions come from, and where more connections stop helping."""
    sizing = report.sizing
    if sizing is None:
        return ""
    how = f" (model: {sizing.model})" if sizing.model else ""
    knee = f"; beyond {sizing.knee} connections a process the database only gets slower" if sizing.knee else ""
    return f"predicted from this run's arrivals{how}{knee}"


def backtest_sentence(report: Report) -> str:
    """Whether the model may be believed, from what it says of the run it came from."""
    backtest = report.sizing.backtest if report.sizing else None
    if backtest is None:
        return ""
    factor = math.exp(backtest.error) if backtest.error is not None else 1.0
    off = f" (its p95 wait is off by a factor of {factor:.2f})" if factor >= 1.005 else ""
    if backtest.ok:
        return f"the model reproduces the run it was fed{off}"
    return f"the model does NOT reproduce the run it was fed{off}: take its predictions as a direction only"


def verified_sentence(report: Report) -> str:
    """What the run at the recommended settings showed."""
    verified = report.sizing.verified if report.sizing else None
    if verified is None:
        return ""
    met = {
        True: "the objective is met",
        False: "the objective is MISSED",
        None: "the run failed its own checks and tells nothing",
    }
    return f"tried at {size(verified.settings)} on the same arrivals: {met[verified.met]} (run {verified.run_id})"


def generator(report: Report) -> list[str]:
    """What the load generator did, in lines."""
    load = report.load
    if load is None:
        return []
    lag = load.start_lag_s
    quantiles = ", ".join(f"{name} {format_seconds(getattr(lag, name))}" for name in ("p50", "p95", "p99", "max"))
    skipped = f", {load.skipped:,} skipped" if load.skipped else ""
    rates = f"offered {format_rate(load.offered_per_s)}, achieved {format_rate(load.achieved_per_s)}"
    return [
        f"{rates} ({load.arrivals:,} arrivals{skipped})",
        f"start lag, intended to actual start: {quantiles}",
        f"its event loop used {format_share(load.loop_cpu)} of one core",
    ]


def validity(check: ValidityCheck) -> str:
    """One check of the run itself, in a line."""
    if check.detail:
        return f"{check.check}: {check.detail}"
    value, limit = (DASH if number is None else f"{number:.4g}" for number in (check.value, check.limit))
    return f"{check.check}: {value} (limit {limit})"


def pool(report: Report) -> str:
    """The pool over the run, in one line."""
    p = report.pool
    parts = [
        f"mean checked out {p.mean_checked_out:.3g}",
        f"utilisation {format_share(p.utilisation)}" if p.utilisation is not None else _no_share(report.target),
        f"peak checked out {p.peak_checked_out}",
        f"overflow {DASH if p.peak_overflow is None else p.peak_overflow}",
        f"waiting {DASH if p.peak_waiting is None else p.peak_waiting}",
    ]
    if p.connects_per_1000 is not None:
        parts.append(f"{p.connects_per_1000:.3g} connects per 1,000 checkouts")
    return ", ".join(parts)


def _no_share(target: TargetInfo) -> str:
    """Why a pool has no utilisation: it has no limit, or a queue's sizes were not told."""
    return "limit unknown" if "Queue" in target.pool_class and target.settings.capacity is None else "no limit"


def leases(report: Report) -> str:
    """How the requests ended, in one line."""
    counts = report.leases
    ends = ("returned", "timed_out", "cancelled", "failed", "invalidated", "detached", "abandoned", "open")
    parts = [f"{getattr(counts, end):,} {end.replace('_', ' ')}" for end in ends if getattr(counts, end)]
    return f"{counts.total:,} requests for a connection: {', '.join(parts) or 'none'}"


def capture(report: Report) -> list[str]:
    """What capture did, and could not do."""
    c = report.capture
    overhead = f", {format_share(c.overhead)} of the times measured is capture's own" if c.overhead is not None else ""
    lost = f"{c.dropped:,} dropped" if c.dropped else "none dropped"
    failed = f", {c.errors:,} errors inside capture" if c.errors else ""
    plain = ", not compiled for this Python: more than twice the cost" if c.compiled is False else ""
    said = {line for finding in report.findings for line in finding.evidence}
    blind = [f"cannot tell: {line}" for line in c.blind if line not in said]
    return [f"{c.events:,} events, {lost}{failed}{overhead}{plain}", *blind]


def near(text: str) -> str:
    """Return a text with the paths below the current directory as seen from there."""
    return text.replace(f"{Path.cwd()}{os.sep}", "")


def places(finding: Finding, most: int = 3) -> str:
    """The sites of a finding that it does not name itself, in one line; empty when there are none."""
    said = " ".join([finding.title, finding.advice, *finding.evidence])
    sites = [near(site) for site in finding.sites if site not in said]
    more = f" and {len(sites) - most} more" if len(sites) > most else ""
    return ", ".join(sites[:most]) + more


def again(report: Report) -> str:
    """The command that shows this run again."""
    path = Path(report.run.path)
    near = path.parent == Path.cwd() / DEFAULT_ROOT
    return f"poolctl report {report.run.id if near else shlex.quote(str(path))}"
