"""What the probes of all dialects share: how to ask, and the shape of a sample.

In: a Connection and a statement; the backends of a server. Out: rows; one sample for `server.jsonl`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from poolctl.clock import monotonic_ns

WATCH_NAME = "poolctl"
"""application_name of the watcher's session: never counted."""

HIDDEN = "the state of other users' sessions (grant pg_monitor, or PROCESS in MySQL, to see it)"

MOST = 300
"""Backends of one sample that are written down: those that work first, then those that have been idle longest."""

QUERY_CHARACTERS = 300

_COMMENT = r"(?P<comment>/\*.*?(?:\*/|\Z)|%s[^\n]*)"
_STANDARD = re.compile(
    "|".join(
        (
            _COMMENT % "--",
            r"\b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)",
            r"'(?:[^']|'')*(?:'|\Z)",
            r"\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)",
            r"(?<![\w$])\d+(?:\.\d+)?\b",
        )
    ),
    re.DOTALL,
)
_MYSQL = re.compile(
    "|".join(
        (
            _COMMENT % r"(?:--\s|\#)",
            r"'(?:[^'\\]|\\.|'')*(?:'|\Z)",
            r'"(?:[^"\\]|\\.|"")*(?:"|\Z)',
            r"\b\d+(?:\.\d+)?\b",
        )
    ),
    re.DOTALL,
)
"""What is not shown of a statement; the last of each kind may be cut off."""


@dataclass(slots=True)
class Backend:
    """One session of others, as the server tells it. None: not to be seen."""

    pid: int
    """PostgreSQL: process id. MySQL: connection id. What the driver knows as its own."""
    application: str = ""
    """application_name; MySQL: the user."""
    user: str = ""
    client: str = ""
    """Address of the client; empty: a unix socket, or not to be seen."""
    state: str | None = None
    """active | idle | idle in transaction | idle in transaction (aborted) | …; None: hidden."""
    wait: str | None = None
    """What it waits for: `Lock:transactionid`, `IO:DataFileRead`; MySQL: its state, in MySQL's words."""
    state_s: float | None = None
    """In this state for so long."""
    transaction_s: float | None = None
    """Its transaction is so old."""
    age_s: float | None = None
    """Connected for so long."""
    query: str = ""
    """The last statement, without literals."""
    blocked_by: list[int] = field(default_factory=list)
    lock_wait_s: float | None = None
    """It has waited for its lock for so long."""

    @property
    def idle_in_transaction(self) -> bool:
        """Whether a transaction is open and nobody works in it."""
        return (self.state or "").startswith("idle in transaction")


def rows(connection: Connection, statement: str, /, **values: Any) -> list[Any]:
    """Return all rows; the transaction ends with them."""
    try:
        return list(connection.execute(text(statement), values))
    finally:
        connection.rollback()


def without_literals(query: str, *, mysql: bool = False) -> str:
    """Return a statement with `?` for its literals, and without its comments, in one short line.

    Those that the server cut off count, too. Comments may hold a user's name or a trace id.
    """
    plain = (_MYSQL if mysql else _STANDARD).sub(lambda found: " " if found["comment"] else "?", query)
    return " ".join(plain.split())[:QUERY_CHARACTERS]


def seconds(value: Any) -> float | None:
    """Return a duration as the server gave it (a Decimal, perhaps a little negative) as seconds."""
    return None if value is None else max(0.0, float(value))


def empty_sample() -> dict[str, Any]:
    """Return a sample without sessions.

    `at_ns` (monotonic), `sessions`, `active`, `active_others` (those not named poolctl…; PostgreSQL only), `idle`,
    `idle_in_transaction`, `hidden`, `lock_waits`, `lwlock_waits`, `io_waits` (active sessions by what they wait for),
    `longest_idle_in_transaction_s`, `longest_transaction_s` (None: no such session), `applications` (name → sessions),
    `uptime_s` of the server, `replica` (read-only: a standby), `connected` (sessions of all, without a privilege),
    `backends` (`Backend` as plain data, at most MOST).
    """
    waits = ("lock_waits", "lwlock_waits", "io_waits")
    counts = ("sessions", "active", "active_others", "idle", "idle_in_transaction", "hidden", *waits)
    return {
        "at_ns": monotonic_ns(),
        **dict.fromkeys(counts, 0),
        "longest_idle_in_transaction_s": None,
        "longest_transaction_s": None,
        "applications": {},
        "uptime_s": None,
        "replica": None,
        "backends": [],
    }


def sample_of(backends: Iterable[Backend]) -> dict[str, Any]:
    """Return the sample of these sessions; what is known of the server itself is still to be put in."""
    sample, seen = empty_sample(), list(backends)
    for backend in seen:
        state, applications = backend.state or "", sample["applications"]
        sample["sessions"] += 1
        sample["hidden"] += backend.state is None
        if backend.idle_in_transaction:
            sample["idle_in_transaction"] += 1
            _raise_to(sample, "longest_idle_in_transaction_s", backend.state_s)
        elif state in ("active", "fastpath function call"):
            sample["active"] += 1
            sample["active_others"] += not backend.application.startswith("poolctl")
            waits = f"{(backend.wait or '').partition(':')[0].lower()}_waits"
            if waits in ("lock_waits", "lwlock_waits", "io_waits"):
                sample[waits] += 1
        elif state == "idle":
            sample["idle"] += 1
        _raise_to(sample, "longest_transaction_s", backend.transaction_s)
        applications[backend.application] = applications.get(backend.application, 0) + 1
    seen.sort(key=lambda backend: (backend.state in (None, "idle"), -(backend.transaction_s or backend.state_s or 0.0)))
    sample["backends"] = [_plain(backend) for backend in seen[:MOST]]
    return sample


def _plain(backend: Backend) -> dict[str, Any]:
    """Only what is known, times in milliseconds' precision: there is a line of these every second."""
    told = {key: value for key, value in asdict(backend).items() if value not in (None, "", [])}
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in told.items()}


def _raise_to(sample: dict[str, Any], key: str, value: float | None) -> None:
    if value is not None:
        sample[key] = max(sample[key] or 0.0, value)
