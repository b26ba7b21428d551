"""A process's interpreter has no moment to spare.

What it detects
    Processes of which some thread was running, or waiting for a processor, at nine of ten looks or more, for at least a
    second in all. Python lets one thread run at a time (the GIL): the others wait for their turn.

Why it matters
    Threads that compute keep those from going on whose statement has long been answered: each of its steps waits for a
    turn of 5 ms and more. Statements look slow, connections are held longer, the pool runs full, and a larger pool only
    adds threads that wait for their turn.

How to fix it
    Move what computes out of the process (`ProcessPoolExecutor`, a worker queue), run more processes, or make it
    cheaper: a profiler shows what it is (`py-spy top --pid …`).

When it is wrong
    Extensions that compute without the GIL keep nobody from running. A machine with too few processors makes every
    process look busy: look at its load first. Only Linux tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from poolctl.analysis import stalls
from poolctl.analysis.rule import Rule, suffers
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds, format_share

RULE = Rule("PC607", "busy-interpreter", Severity.WARNING)
LEAST_S = 1.0
SHARE = 0.5
"""Of the time that was looked at; below it, or where nobody waits for the pool, it is noted only."""


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all processes."""
    busy: dict[int, float] = defaultdict(float)
    looked: dict[int, float] = defaultdict(float)
    for sample in view.process_samples:
        took = (int(sample["to_ns"]) - int(sample["from_ns"])) / 1e9
        looked[int(sample["pid"])] += took
        busy[int(sample["pid"])] += took if float(sample["wanted"]) >= stalls.BUSY else 0.0
    worst = max(busy, key=lambda pid: busy[pid], default=None)
    if worst is None or busy[worst] < LEAST_S:
        return
    share = busy[worst] / looked[worst]
    several = sum(time >= LEAST_S for time in busy.values())
    yield RULE.finding(
        f"the interpreter of process {worst} had no moment to spare for {format_seconds(busy[worst])}",
        [
            f"{format_share(share)} of the time looked at; a warning above {format_share(SHARE)}",
            f"busy: a thread runs or waits for a processor at {format_share(stalls.BUSY)} of the looks or more",
            f"for {format_seconds(LEAST_S)} or longer: {several} of {len(looked)} processes",
        ],
        f"find what computes (`py-spy top --pid {worst}`) and move it to another process, or run more processes",
        severity=Severity.WARNING if share > SHARE and suffers(view) else Severity.INFO,
        confidence="medium",
    )
