"""PgBouncer's log: which connections it closed and why, what it refused, when it stopped and came up.

In: the log file, written while a window runs or before. Out: plain dicts for `proxy-log.jsonl`, each with its instant
on the run's clock. Lines without an instant of their own (syslog, journald) are left out, and counted.
FIELD.md section 7.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from poolctl.clock import NS, Anchor
from poolctl.errors import InputError

_LINE = re.compile(
    r"^(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (?P<zone>\S+) \[\d+\] (?P<level>[A-Z]+) (?P<text>.*)$"
)
_SOCKET = re.compile(r"^(?P<side>[CS])-0x[0-9a-fA-F]+: (?P<database>[^/]*)/(?P<user>[^@]*)@(?P<peer>\S+) (?P<text>.*)$")
_CLOSED = re.compile(r"^closing because: (?P<reason>.*?)(?: \(age=(?P<age>\d+)s?\))?$")
_REFUSED = re.compile(r"^pooler error: (?P<reason>.*)$")
_STARTED = re.compile(r"^process up: PgBouncer (?P<reason>\S+)")
_STOPPED = re.compile(
    r"^(?P<reason>got SIG(?:TERM|INT|QUIT)\b.*|.*\bfast exit\b.*|.*shutting down.*|SHUTDOWN command issued.*)$"
)
MARK_BYTES = 256
"""What has to stand before the place where a log ended for it to be the same file still."""
SLACK_S = 0.002
"""The log's instants are cut to milliseconds."""


@dataclass
class LogRead:
    """What a log said within a window."""

    events: list[dict[str, Any]] = field(default_factory=list)
    """`at_ns`, `what` (closed | refused | started | stopped), `reason`, and of connections `side` (C: a client's, S:
    one to the server), `database`, `user`, `age_s`."""
    lines: int = 0
    """Lines that were understood as PgBouncer's, events or not."""
    strange: int = 0
    """Lines that were not."""


class PgBouncerLog:
    """A log that is being written. Raises InputError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._mark = b""

    def begin(self) -> None:
        """Remember where it ends now, and with what."""
        with self._open() as file:
            self._offset = file.seek(0, os.SEEK_END)
            self._mark = _before(file, self._offset)

    def read(self, anchor: Anchor, until_ns: int) -> LogRead:
        """Return what it said since `begin` (or ever), from the anchor's instant until `until_ns` (monotonic)."""
        with self._open() as file:
            rotated = _before(file, self._offset) != self._mark
            file.seek(0 if rotated else self._offset)
            return parse((line.decode("utf-8", "replace").rstrip() for line in file), anchor, until_ns)

    def _open(self) -> BinaryIO:
        try:
            return self._path.open("rb")
        except OSError as error:
            raise InputError(
                f"the proxy's log {self._path} cannot be read: {error.strerror}", "give PgBouncer's `logfile`"
            ) from None


def _before(file: BinaryIO, offset: int) -> bytes:
    file.seek(max(0, offset - MARK_BYTES))
    return file.read(min(offset, MARK_BYTES))


def parse(lines: Iterable[str], anchor: Anchor, until_ns: int) -> LogRead:
    """Return what these lines say of the time between the anchor's instant and `until_ns` (monotonic)."""
    found = LogRead()
    since = anchor.monotonic_ns - int(SLACK_S * NS)
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            found.strange += bool(line.strip())
            continue
        found.lines += 1
        at = anchor.monotonic_ns + _wall_ns(match["at"], match["zone"]) - anchor.wall_ns
        if since <= at <= until_ns:
            found.events.extend({"at_ns": at, **event} for event in _events(match["text"]))
    return found


def _events(text: str) -> Iterator[dict[str, Any]]:
    of_socket = _SOCKET.match(text)
    if of_socket is None:
        for what, pattern in (("started", _STARTED), ("stopped", _STOPPED)):
            if match := pattern.match(text):
                yield {"what": what, "reason": match["reason"]}
                return
        return
    said = {name: of_socket[name] for name in ("side", "database", "user")}
    if match := _CLOSED.match(of_socket["text"]):
        age = {"age_s": int(match["age"])} if match["age"] else {}
        yield {"what": "closed", "reason": match["reason"], **said, **age}
    elif match := _REFUSED.match(of_socket["text"]):
        yield {"what": "refused", "reason": match["reason"], **said}


def _wall_ns(at: str, zone: str) -> int:
    """Return nanoseconds since the Unix epoch. The log is this machine's, so a zone other than UTC is the local one."""
    naive = datetime.fromisoformat(at)
    moment = naive.replace(tzinfo=UTC) if zone in ("UTC", "GMT", "Z") else naive.astimezone()
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * NS + moment.microsecond * 1000
