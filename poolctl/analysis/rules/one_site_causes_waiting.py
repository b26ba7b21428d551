"""One line of code causes most of the waiting.

What it detects
    A site and context that held connections during more than half of the others' waiting (shared out evenly among those
    who held at the time), and during half as much again as its share of the checkouts would explain. The run is
    replayed in the pool model as if that site gave its connections back as soon as its SQL is done, and as if its work
    had a pool of its own: what the p95 wait (where few requests waited, the p99 or the longest) would have been. Where
    the model does not reproduce the run as it was, nothing is claimed.

Why it matters
    The pool is not too small for the load but for this one holder: shortening its holds helps everybody.

How to fix it
    Give the connection back before what is not SQL (a call of another service, rendering, a lock) at the site it names,
    or give that work a pool of its own.

When it is wrong
    Holders that are long because the database is slow for everybody are victims too: compare their sql share. The
    replay keeps the arrivals: callers that come back sooner because they are served sooner are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.counterfactual import otherwise
from poolctl.analysis.rule import Rule, idle_until, named
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Prediction, Severity, SiteRow
from poolctl.units import format_seconds, format_share

RULE = Rule("PC303", "one-site-causes-waiting", Severity.WARNING)
SHARE = 0.5
BEYOND = 1.5
LEAST_S = 1.0
"""Seconds of waiting. Below this there is nothing to share out."""
IDLE_SHARE = 0.2
"""Of the site's hold, from which giving the connection back earlier is worth a replay."""

STATISTICS = ("p95", "p99", "max")
"""Of the waits, the first that is above the policy: what few requests met is not in the p95."""


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when one site stands out among the causes of waiting."""
    rows = view.sites
    total = sum(row.wait_caused_s or 0.0 for row in rows)
    if total < LEAST_S or len(rows) < 2:
        return
    worst = max(rows, key=lambda row: row.wait_caused_s or 0.0)
    share, leases = (worst.wait_caused_s or 0.0) / total, worst.leases / max(1, sum(row.leases for row in rows))
    if share <= SHARE or share < BEYOND * leases:
        return
    known, advice = _replayed(view, worst)
    yield RULE.finding(
        f"{format_share(share)} of the waiting was caused by {named(worst)}",
        [
            f"{format_seconds(worst.wait_caused_s)} of {format_seconds(total)} waited; threshold {format_share(SHARE)}",
            f"it has {format_share(leases)} of the leases",
            f"its p95 hold time is {format_seconds(worst.hold_time_s.p95)}, sql share {format_share(worst.sql_share)}",
            *known,
        ],
        advice,
        sites=[worst.site],
    )


def _replayed(view: View, worst: SiteRow) -> tuple[list[str], str]:
    """Return what a replay says of the site, and the advice that follows."""
    advice = f"shorten the hold at {worst.site}, or give it an engine of its own"
    found = otherwise(view, worst.site)
    if isinstance(found, str):
        return [f"no counterfactual: {found}"], advice
    waits, worth_s = found.as_it_was.wait_time_s, view.policy.acquire_time_warning_s
    name = next((name for name in STATISTICS if (getattr(waits, name) or 0.0) > worth_s), STATISTICS[-1])

    def wait(prediction: Prediction) -> str:
        lost = f" with {format_share(prediction.timeout_rate)} timeouts" if prediction.timeout_rate else ""
        return f"{format_seconds(getattr(prediction.wait_time_s, name))}{lost}"

    word = "longest" if name == "max" else name
    known = [f"replayed as it was, the {word} wait is {wait(found.as_it_was)}"]
    idle = 1 - worst.sql_share if worst.sql_share is not None else 0.0
    if idle > IDLE_SHARE:
        until = idle_until(view, worst.site)
        before = f"before {until[0]}" if until else "before what is not SQL"
        otherwise_s = f"the {word} wait would be {wait(found.released)}"
        known.append(f"released {before} (idle {format_share(idle)} of the hold), {otherwise_s}")
        advice = f"release the connection of {worst.site} {before}: {otherwise_s}"
    known.append(f"with an engine of its own for {worst.site}, the {word} wait would be {wait(found.apart)}")
    return known, advice
