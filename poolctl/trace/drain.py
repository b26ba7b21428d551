"""Drain: from the rings of the watched processes to the files of the run. Runs in poolctl, never in the application.

In: a run directory in which watched processes announce themselves by a names file whose first line tells their ring.
Out: `events-<pid>.bin` and the rest of `names-<pid>.jsonl`, and the new records for whoever shows them live.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from poolctl.clock import NS, monotonic_ns
from poolctl.errors import InputError
from poolctl.trace import eventfile
from poolctl.trace.events import RECORD_BYTES
from poolctl.trace.leftovers import exists
from poolctl.trace.ring import SAMPLE_EVERY, SHARED_MEMORY
from poolctl.trace.ring_reader import RingReader
from poolctl.trace.run import output_error

PROMISE_NS = 30 * NS
"""A guest whose ring nobody has read for so long may take its leave."""
UNREAD_S = 600.0
"""A ring of a dead process that is younger may still find its first reader."""


class Drain:
    """One process's ring, drained. Raises InputError when there is no such ring.

    `source` is the process's names file; the files are made beside it, or in the directory `into`: then the process
    captures for whoever comes, and its ring stays.
    """

    def __init__(self, source: Path, into: Path | None = None) -> None:
        self.names_path = source if into is None else into / source.name
        self.events_path = self.names_path.with_name(source.name.replace("names-", "events-", 1)).with_suffix(".bin")
        self._reader = RingReader(_ring_of(source))
        self.pid = self._reader.pid
        self.anchor = self._reader.anchor
        """When its capture began, as (monotonic ns, wall ns)."""
        self._names = _Appender(self.names_path)
        self._events = _Appender(self.events_path)
        self._events.add(eventfile.header(self.pid, self.anchor))
        self._about: dict[str, Any] = {}
        if into is not None:
            self._names.add(source.read_bytes())
            self._reader.catch_up()

    @property
    def dropped(self) -> int:
        """Records lost so far: the ring went round before they were read, or they were never finished."""
        return self._reader.dropped

    @property
    def counters(self) -> dict[str, int]:
        """What the recorder counted about itself so far (`trace.ring.COUNTERS`)."""
        return self._reader.counters

    def poll(self, *, final: bool = False) -> bytes:
        """Append what is new to the files and return the new records, whole ones only. Raises OutputError.

        What could not be written is kept and tried again by the next call; the application never notices.
        """
        self._reader.promise(monotonic_ns() + PROMISE_NS)
        records = self._reader.read(final=final)
        names = self._reader.read_names()  # after the records: every number they use is in it
        for line in names.splitlines() if b'"kind": "capture"' in names else ():
            entry = json.loads(line)
            self._about = entry if entry["kind"] == "capture" else self._about
        self._names.add(names)
        self._events.add(records)
        self._names.flush()
        self._events.flush(whole=RECORD_BYTES)
        return records

    def close(self, *, unlink: bool = True) -> bytes:
        """Read the rest, write the recorder's counters as the last line, forget the ring (and remove it).

        Returns the last records. Raises OutputError, with the ring gone all the same.
        """
        try:
            records = self.poll(final=True)
            self._names.add(json.dumps(self._summary()).encode() + b"\n")
            self._names.flush()
        finally:
            self._reader.promise(0)
            self._reader.close()
            if unlink:
                self._reader.path.unlink(missing_ok=True)
        return records

    def _summary(self) -> dict[str, Any]:
        """The `capture` line: what the recorder said of itself, and what it counted; overhead scaled to all leases."""
        counted = self.counters
        overhead_ns = counted["overhead_ns"] * SAMPLE_EVERY
        return {**self._about, "kind": "capture", "dropped": self.dropped, **counted, "overhead_ns": overhead_ns}


class Drains:
    """All watched processes of one run directory, drained; new ones are found as they announce themselves.

    `into`: where the files are made, when not there: then processes that are gone already are not met, and the rings of
    those that live stay with them.
    """

    def __init__(self, directory: Path, into: Path | None = None) -> None:
        self._directory = directory
        self._into = into
        self._open: dict[Path, Drain] = {}
        self._gone: set[Path] = set()
        self._ended = {"dropped": 0, "errors": 0}
        self.pids: list[int] = []
        """The processes met so far, those that are gone included."""
        self.began: tuple[int, int] | None = None
        """The clock anchor (monotonic ns, wall ns) of the first of them, at which its capture began."""

    @property
    def dropped(self) -> int:
        """Records lost so far, all processes."""
        return self._ended["dropped"] + sum(drain.dropped for drain in self._open.values())

    @property
    def errors(self) -> int:
        """Errors that the recorders swallowed so far, all processes."""
        return self._ended["errors"] + sum(drain.counters["errors"] for drain in self._open.values())

    def poll(self) -> list[tuple[Drain, bytes]]:
        """Poll every process; return those that had new records. Raises OutputError.

        The ring of a process that is gone is read to its end and removed: short-lived ones must not fill the memory.
        """
        began = self.began
        for path in set(self._directory.glob("names-*.jsonl")) - self._open.keys() - self._gone:
            if self._into is not None and not _lives(path):
                self._gone.add(path)
                continue
            try:
                drain = self._open[path] = Drain(path, self._into)
                self.pids.append(drain.pid)
                began = min(began or drain.anchor, drain.anchor)
            except InputError:
                if _announced(path):  # its ring is gone; one without a whole first line yet comes later
                    self._gone.add(path)
        self.began = began  # once all are met: who waits for it begins the window with the first of them
        polled = [self._poll(path, drain) for path, drain in list(self._open.items())]
        return [(drain, records) for drain, records in polled if records]

    def close(self, *, unlink: bool = True) -> list[tuple[Drain, bytes]]:
        """Poll a last time and close every drain. Raises the first OutputError, after all were closed."""
        try:
            closed = self.poll()
        finally:
            with contextlib.ExitStack() as stack:
                for drain in self._open.values():
                    stack.callback(drain.close, unlink=unlink and self._into is None)
        return closed

    def _poll(self, path: Path, drain: Drain) -> tuple[Drain, bytes]:
        if exists(drain.pid):
            return drain, drain.poll()
        before = drain.poll()  # raises while the disk is full: the ring is kept until it can be written
        del self._open[path]
        self._gone.add(path)
        self._ended["errors"] += drain.counters["errors"]
        last = drain.close()
        self._ended["dropped"] += drain.dropped
        return drain, before + last


def sweep() -> int:
    """Remove the rings of processes that are gone, and that nobody reads any more; return how many."""
    removed = 0
    for path in SHARED_MEMORY.glob("poolctl-*-*.ring"):
        number = path.name.split("-")[1]
        try:
            if number.isdecimal() and not exists(int(number)):
                reader = RingReader(path)
                promised = reader.promised
                reader.close()
                if promised < monotonic_ns() and (promised or time.time() - path.stat().st_ctime > UNREAD_S):
                    path.unlink()
                    removed += 1
        except (InputError, OSError):  # another user's, or of another version
            continue
    return removed


def _lives(names: Path) -> bool:
    """Whether a process that announced itself is still there; what a dead one left is removed."""
    entry = _announced(names)
    if entry is None or exists(int(entry["pid"])):
        return entry is not None
    with contextlib.suppress(OSError):
        Path(entry["ring"]).unlink(missing_ok=True)
        names.unlink(missing_ok=True)
    return False


class _Appender:
    """A file that only grows, by whole pieces, through refusals of the system."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending = b""

    def add(self, data: bytes) -> None:
        self._pending += data

    def flush(self, *, whole: int = 1) -> None:
        """Append what is pending; after a refusal the file ends with a whole piece. Raises OutputError."""
        if not self._pending:
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise output_error(self._path, error) from None
        before = written = 0
        try:
            before = os.fstat(fd).st_size
            while written < len(self._pending):
                written += os.write(fd, self._pending[written:] if written else self._pending)
        except OSError as error:
            written -= (before + written) % whole
            with contextlib.suppress(OSError):
                os.ftruncate(fd, before + written)
            raise output_error(self._path, error) from None
        finally:
            os.close(fd)
            self._pending = self._pending[written:]


def _announced(names: Path) -> dict[str, Any] | None:
    """Return the process line of a names file, None while it is not whole."""
    try:
        with names.open("rb") as file:
            line = file.readline()
        entry = json.loads(line) if line.endswith(b"\n") else None
    except (OSError, ValueError):
        return None
    return entry if isinstance(entry, dict) else None


def _ring_of(names: Path) -> Path:
    entry = _announced(names)
    if entry is None or "ring" not in entry:
        raise InputError(f"{names} names no ring", "the process did not get as far as opening it")
    return Path(entry["ring"])
