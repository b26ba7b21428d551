"""Too many, or too few, of the open connections are in use.

What it detects
    The mean of connections in use ÷ the mean of connections open, outside of the policy's range (0.3 to 0.6). What is
    too much while nobody waits is only noted.

Why it matters
    Near one there is no idle connection left for the next request: it queues, or pays for a new connection. Near zero
    the server keeps processes and memory for connections that nobody uses.

How to fix it
    Above: raise pool_size as recommended, or shorten the holds. Below: lower pool_size; the connections beyond it are
    closed when they come back.

When it is wrong
    A pool opens connections only when they are wanted, so a fixed number of workers keeps all of them busy and nobody
    waits. A window without the peak says nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolctl.analysis.rule import Rule, graded, sites_of, suffers
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_share

RULE = Rule("PC207", "active-ratio", Severity.WARNING)
FEWEST = 20
"""Leases. Below this the ratio is chance."""


def check(view: View) -> Iterator[Finding]:
    """Yield a finding when the share of open connections that are in use is out of range."""
    policy, steps = view.policy, view.open_connections
    if steps is None or int(view.acquired.sum()) < FEWEST or "overflow" in view.untold:
        return
    whole = np.array([0.0, view.length_s])
    opened, active = float(steps.means(whole)[0]), float(view.checked_out.means(whole)[0])
    if opened < 1:
        return
    ratio = min(active / opened, 1.0)
    healthy = f"healthy from {format_share(policy.active_ratio_low)} to {format_share(policy.active_ratio_warning)}"
    evidence = [
        f"{active:.1f} of {opened:.1f} open connections in use on average",
        f"{healthy}, alert above {format_share(policy.active_ratio_alert)}",
    ]
    severity = graded(ratio, policy.active_ratio_warning, policy.active_ratio_alert)
    size = view.settings.pool_size
    if severity is not None:
        waited = suffers(view)
        yield RULE.finding(
            f"{format_share(ratio)} of the open connections were in use on average",
            [*evidence, "requests waited for it" if waited else "nobody waited for it"],
            f"raise pool_size (now {size}) as recommended, or shorten the holds",
            severity=severity if waited else Severity.INFO,
            sites=sites_of(view, view.acquired, np.nan_to_num(view.column("hold_time_s"))),
        )
    elif ratio < policy.active_ratio_low and steps.peak > 1 and size and view.settings.capacity != float("inf"):
        needed = max(1, -(-view.checked_out.peak // max(1, len(view.pool_keys[1]))))
        if needed < size:
            yield RULE.finding(
                f"only {format_share(ratio)} of the open connections were in use on average",
                evidence,
                f"pool_size={needed} would have held the peak (now {size}); keep it where a higher peak comes",
                severity=Severity.INFO,
                confidence="medium",
            )
