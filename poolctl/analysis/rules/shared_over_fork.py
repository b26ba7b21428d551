"""A forked process uses connections of its parent.

What it detects
    Checkouts in a forked child of connections that the parent had opened before the fork.

Why it matters
    Two processes write to one socket and read each other's answers: wrong rows, "lost synchronization with server",
    hangs; and when one of them closes, the other's session is gone.

How to fix it
    Create the engine in the child, or call `engine.dispose(close=False)` there before anything else (gunicorn's
    `post_fork`, uWSGI's `@postfork`, Celery's `worker_process_init`, `os.register_at_fork(after_in_child=…)`).

When it is wrong
    Where the parent never touches them again and exits, nobody was hurt, by luck.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from poolctl.analysis.rule import Rule, sites_of, times, where
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity

RULE = Rule("PC605", "shared-over-fork", Severity.CRITICAL)


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for all connections that went over a fork."""
    inherited = view.tables.told.inherited
    if not inherited:
        return
    process, connection = view.whole("process"), view.whole("connection")
    used = np.isin(process << 32 | connection, [pid << 32 | number for pid, number, _ in inherited])
    sites = sites_of(view, used)
    by_process = Counter(pid for pid, _, _ in inherited)
    backends = sorted({backend for _, _, backend in inherited if backend})
    evidence = [f"process {pid}: {times(count, 'connection')}; threshold 0" for pid, count in by_process.most_common(5)]
    evidence.append(f"{times(int(used.sum()), 'checkout')} of them in the children")
    if backends:
        evidence.append(f"backends with two masters: {', '.join(map(str, backends[:10]))}")
    yield RULE.finding(
        f"{times(len(inherited), 'connection')} of a parent process used by {len(by_process)} forked",
        evidence,
        f"call engine.dispose(close=False) in the child before it uses the engine{where(sites)}, or create it there",
        sites=sites,
    )
