"""Verdict facts: what is known when the verdict is sought, each computed once.

In: a View, the checks, findings, objectives and sizing of the run. Out: `Facts`. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from poolctl.analysis import pressure
from poolctl.analysis import verdict_limits as limit
from poolctl.analysis.culprits import Culprit, culprits
from poolctl.analysis.on_server import Head, heads
from poolctl.analysis.pressure import Pressure
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, ObjectiveResult, Outcome, PoolSettings, Severity, Sizing, ValidityCheck

MOST_REQUESTS = 30_000
"""Of a longer run a part is taken apart for locks."""
SETTINGS = ("PC4", "PC501", "PC603", "PC604", "PC605")
"""Findings about how an engine is set up."""


@dataclass(frozen=True)
class Facts:
    """What is known."""

    view: View
    checks: Sequence[ValidityCheck] = ()
    findings: Sequence[Finding] = ()
    objectives: Sequence[ObjectiveResult] = ()
    sizing: Sizing | None = None

    @property
    def total(self) -> int:
        """Requests recorded."""
        return len(self.view.tables.leases)

    @property
    def scripted(self) -> bool:
        """Whether this was a load test."""
        return not self.view.tables.operations.empty

    @cached_property
    def pressed(self) -> Pressure:
        """The numbers."""
        return pressure.measure(self.view)

    @cached_property
    def culprits(self) -> list[Culprit]:
        """The sites, those that others waited for most first."""
        return culprits(self.view)

    @cached_property
    def heads(self) -> list[Head]:
        """Who was at the head of the queues for locks, as the server says."""
        return heads(self.view)

    def found(self, *codes: str) -> Finding | None:
        """Return the first finding of these codes."""
        return next((finding for finding in self.findings if finding.code in codes), None)

    @property
    def starving_proxy(self) -> Finding | None:
        """The pooler in which clients wait, while the application's pool looks like the culprit."""
        return self.found("PC507") if not self.scripted else None

    @property
    def wrong_setting(self) -> Finding | None:
        """The worst finding about how the engine is set up, if there is one above info."""
        wrong = [f for f in self.findings if f.code.startswith(SETTINGS) and f.severity is not Severity.INFO]
        return max(wrong, key=lambda finding: finding.severity.rank, default=None)

    @property
    def sync_in_loop(self) -> Finding | None:
        """The finding about a sync driver that stops the event loop, if it is above info."""
        found = self.found("PC606")
        return found if found and found.severity is not Severity.INFO else None

    def missed(self, *measures: str) -> list[str]:
        """Return the objectives on these measures that were missed."""
        failed = [result.objective for result in self.objectives if result.verdict is Outcome.FAIL]
        return [text for text in failed if any(f" {measure} " in f" {text} " for measure in measures)]

    @property
    def stalled(self) -> tuple[float, str]:
        """The share of the waiting that the event loop made, and in which way."""
        pressed = self.pressed
        ways = [
            (pressed.stalled_share, "while the event loop stood still or caught up"),
            (pressed.free_share, "with a connection free"),
        ]
        return max(ways, key=lambda way: way[0])

    @property
    def interpreter_share(self) -> float:
        """The share of the waiting behind an interpreter without a moment to spare.

        On a crowded machine every process always has a thread that wants to run. So where the server was watched, it
        must have waited for the process as well: answers that nobody reads.
        """
        pressed = self.pressed
        heard = pressed.unheard_share is not None and pressed.unheard_share <= limit.UNHEARD_SHARE
        return 0.0 if heard else pressed.busy_share or 0.0

    @cached_property
    def lock_wanted(self) -> float | None:
        """The share of the time that the busiest row lock is wanted, as far as the trace tells without the server."""
        if self.pressed.lock_share is not None or not self.database_decides:
            return None
        from poolctl.analysis.case import prepare
        from poolctl.analysis.limits import limits

        view = self.view
        made = prepare(view.tables, view.settings, (), view.target.server, 0, most_requests=MOST_REQUESTS)
        if isinstance(made, str) or made.structure is None or not made.structure.stations:
            return None
        return limits(made.structure, made.demands).lock

    @property
    def lock_margin(self) -> float:
        """How many times over its limit the waiting for locks is; 1 or less: it decides nothing."""
        if not self.database_decides:
            return 0.0
        if self.pressed.lock_share is not None:
            return self.pressed.lock_share / limit.LOCK_SHARE
        return (self.lock_wanted or 0.0) / limit.LOCK_WANTED

    @property
    def database_decides(self) -> bool:
        """Whether most of the hold is SQL."""
        return (self.pressed.sql_share or 0.0) > limit.SQL_SHARE

    @property
    def idle_share(self) -> float:
        """Share of the hold without SQL; 0 where that is not known."""
        return 1 - self.pressed.sql_share if self.pressed.sql_share is not None else 0.0

    @property
    def slow_query(self) -> Culprit | None:
        """The site that others waited for most, if its statements are slow: for themselves, and beside the others'."""
        if not self.culprits or not self.database_decides:
            return None
        worst = self.culprits[0]
        slow = (worst.statement_s or 0.0) >= limit.SLOW_STATEMENT_S and (worst.idle_share or 0.0) < limit.IDLE_SHARE
        if not slow or worst.share <= limit.SLOWER_SHARE:
            return None
        others = worst.others_statement_s
        alone = others is None or (worst.statement_s or 0.0) >= limit.SLOW_TIMES * others
        return worst if alone else None

    @property
    def helpless(self) -> bool:
        """Whether sizing says that no pool size would do, and nothing speaks against it; no advice is something else.

        Cores that somebody named say nothing about statements that do not get slower when many run.
        """
        sizing, slower = self.sizing, self.pressed.slower
        if sizing is None or sizing.recommended is not None or sizing.reason.startswith("no advice"):
            return False
        return self.scripted or slower is None or slower >= limit.NO_SLOWER or not self.database_decides

    @property
    def larger_would_do(self) -> bool:
        """Whether sizing says that a larger pool would do."""
        best = _capacity(self.sizing.recommended) if self.sizing else None
        today = _capacity(self.view.settings)
        return best is not None and today is not None and best > today

    @cached_property
    def wanted(self) -> float | None:
        """Connections wanted at once in the busiest tenth of the window: arrivals × mean hold (Little); None: unknown.

        Those that timed out wanted one, too.
        """
        holds, asked = self.view.column("hold_time_s"), self.view.column("requested_at_s")
        known = holds[~np.isnan(holds)]
        if not len(known) or not len(asked):
            return None
        counts = np.histogram(asked, np.linspace(0.0, self.view.length_s, 11))[0]
        return float(counts.max() / (self.view.length_s / 10) * known.mean())


def _capacity(settings: PoolSettings | None) -> float | None:
    return settings.capacity if settings is not None else None
