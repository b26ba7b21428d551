"""The server refused connections.

What it detects
    Requests that failed because a connection could not be opened.

Why it matters
    Each is an error that a user saw. "Too many clients already" means the pools of all services together are larger
    than the server; a refused or reset connection means that it was not there.

How to fix it
    Too many clients: see the budget (PC501). Otherwise look at the server's log at the time of the failures.

When it is wrong
    A failover or a restart during the run makes a few of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from poolctl.analysis.rule import Rule, times
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity

RULE = Rule("PC502", "connect-failed", Severity.ERROR)


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all requests that failed."""
    failed = view.ended("failed")
    count = int(failed.sum())
    if count:
        numbers, names = view.codes("error")
        kinds = Counter(names[number] if number >= 0 else "unknown" for number in numbers[failed])
        yield RULE.finding(
            f"{times(count, 'request')} failed to get a connection",
            [f"{kind}: {many:,}; threshold 0" for kind, many in kinds.most_common(5)],
            "compare max_connections with the pools of all processes, and look at the server's log",
        )
