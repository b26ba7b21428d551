"""Capture missed something.

What it detects
    Records that were lost (the ring overran before it was drained), and errors inside capture itself.

Why it matters
    A lost return looks like a leak, a lost request like a shorter queue: the numbers of such a run are not to be
    judged.

How to fix it
    Lost records: less load per process (`--processes`), or a larger ring. Errors in capture are bugs of poolctl:
    report them.

When it is wrong
    It counts, it does not guess. What a source cannot see by its nature (a log has no waits) is no finding: each
    report says it under "Capture".
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC901", "capture-incomplete", Severity.WARNING)


def check(view: View) -> Iterator[Finding]:
    """Yield a finding for what was lost."""
    capture = view.tables.capture
    if capture.dropped or capture.errors:
        share = capture.dropped / max(1, capture.dropped + capture.events)
        yield RULE.finding(
            f"{capture.dropped:,} records were lost ({format_share(share)}), {capture.errors:,} errors in capture",
            [f"{capture.events:,} records were kept; threshold 0 lost"],
            "spread the load over more processes (--processes)",
        )
