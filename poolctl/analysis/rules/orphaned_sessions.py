"""Sessions go on in the server that the pool no longer has.

What it detects
    Backends of connections that the pool closed, cancelled or gave up, and that the server still carries more than a
    second later. As a note, for a command that was watched from its start: sessions of the same user, application and
    address that no watched pool opened.

Why it matters
    A cancelled request drops its connection, and the statement runs on in the server until it wants to send its result.
    Each orphan takes one of max_connections, its locks and a core, while the pool opens a new connection in its place:
    the budget is exceeded by sessions that nobody counts.

How to fix it
    Let the server end work that nobody waits for: statement_timeout, and in PostgreSQL 14 and newer
    client_connection_check_interval. Cancel on the server before a connection is dropped, and give callers timeouts
    longer than the statements'.

When it is wrong
    A server that closes slowly (a busy machine, a long rollback) shows a session for some seconds more. A console or a
    second service with the same user and name is counted by the note, which is why it is only a note.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolctl.analysis.rule import Rule, times
from poolctl.analysis.sessions import Sessions
from poolctl.analysis.view import View
from poolctl.trace.report import Finding, Severity
from poolctl.units import format_seconds

RULE = Rule("PC504", "orphaned-sessions", Severity.WARNING)
AFTER_S = 1.0
"""A session that is there so long after its connection was closed is an orphan."""
MOST = 5

Identity = tuple[str, str, str]


def check(view: View) -> Iterator[Finding]:
    """Yield one finding for orphans, and one note for strangers."""
    seen = Sessions(view)
    if seen.behind_proxy or not seen.within:
        return
    orphans = _orphans(view, seen)
    if orphans:
        longest = max(after for after, _ in orphans.values())
        yield RULE.finding(
            f"{times(len(orphans), 'session')} went on in the server for up to {format_seconds(longest)} after the "
            "pool had closed it",
            [
                *(_line(pid, after, backend) for pid, (after, backend) in list(orphans.items())[:MOST]),
                f"threshold {format_seconds(AFTER_S)} after the close",
            ],
            _advice(view.target.dialect),
        )
    strangers = _strangers(view, seen)
    if strangers:
        yield RULE.finding(
            f"{times(len(strangers), 'session')} of the application's user came that no watched pool opened",
            [
                (
                    f"backends {', '.join(map(str, sorted(strangers)[:MOST]))}; same user, application_name and "
                    "address as the pool's; threshold 0"
                )
            ],
            "look for connections that are opened beside the engine, or processes that were not watched",
            severity=Severity.INFO,
            confidence="low",
        )


def _orphans(view: View, seen: Sessions) -> dict[int, tuple[float, dict[str, object]]]:
    """Backend pid -> how long after its close it was seen last, and how."""
    closed = _closed(view)
    found: dict[int, tuple[float, dict[str, object]]] = {}
    for at, sample in seen.within:
        for pid, backend in seen.backends(sample).items():
            after = at - closed.get(pid, at)
            age = backend.get("age_s")
            if after > AFTER_S and (age is None or age > after):  # else the process id was given to a new one
                found[pid] = (after, backend)
    return dict(sorted(found.items(), key=lambda entry: -entry[1][0]))


def _closed(view: View) -> dict[int, float]:
    """Backend pid -> the second at which the pool closed its connection for good."""
    frame, leases = view.tables.connections, view.tables.leases
    names = ["process", "pool", "connection", "backend_pid"]
    pids: dict[tuple[int, int, int], int] = {}
    for rows in (leases[leases["backend_pid"] > 0], frame[frame["backend_pid"] > 0]):
        pids |= {(p, pool, number): pid for p, pool, number, pid in rows[names].drop_duplicates().to_numpy().tolist()}
    gone = frame[frame["event"] == "closed"]
    closed: dict[int, float] = {}
    keys = gone[names[:3]].to_numpy().tolist()
    for key, at in zip(keys, gone["at_s"].tolist(), strict=True):
        if (pid := pids.get(tuple(key), 0)) > 0:
            closed[pid] = max(at, closed.get(pid, at))
    return closed


def _strangers(view: View, seen: Sessions) -> set[int]:
    if view.tables.meta.get("way") != "launch":
        return set()
    ours: set[Identity] = set()
    others: dict[int, Identity] = {}
    for at, sample in seen.within:
        for pid, backend in seen.backends(sample).items():
            who = tuple(str(backend.get(name, "")) for name in ("user", "application", "client"))
            age = backend.get("age_s")
            if pid in seen.known:
                ours.add(who)  # type: ignore[arg-type]
            elif age is not None and age < at:  # younger than the run
                others[pid] = who  # type: ignore[assignment]
    return {pid for pid, who in others.items() if who in ours}


def _line(pid: int, after: float, backend: dict[str, object]) -> str:
    doing = ", ".join(str(backend[key]) for key in ("state", "wait", "query") if backend.get(key))
    return f"backend {pid} {format_seconds(after)} after its close: {doing or 'its state is hidden'}"


def _advice(dialect: str) -> str:
    if dialect == "postgresql":
        return (
            "statement_timeout below the callers' timeout, and client_connection_check_interval = '1s' on the server "
            "(PostgreSQL 14 and newer)"
        )
    return "max_statement_time (MariaDB) or max_execution_time (MySQL) below the callers' timeout"
