"""Recorder: gives everything its number and writes it into the ring. Standard library only; inside the application.

In: what the hooks saw. Out: records and names in shared memory (`trace.ring`), and one file, opened once: the first
line of `names-<pid>.jsonl`, by which poolctl finds the ring. No I/O afterwards, no thread, no lock held for long.

Nothing here may hurt the application: tables are capped (a number 0 means "one too many"), errors are counted in the
ring's header, and the callers in `hooks` swallow what is raised.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import re
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from poolctl.capture.sites import Walker, place
from poolctl.capture.tasks import running_loop
from poolctl.trace.events import Flag, Kind
from poolctl.trace.ring import COUNTERS, NoRing, RingWriter
from poolctl.trace.run import output_error
from poolctl.trace.tail import COMPILED

ERRORS, OVERHEAD, SAMPLED = (COUNTERS.index(name) for name in ("errors", "overhead_ns", "sampled"))

CAPS = {"site": 4096, "context": 4096, "statement": 2048, "error": 512, "pool": 65535}
"""How many distinct ones of each are named."""

_CODES = 32768
_LONGEST = 8192
"""Statements are told apart by so many characters: the table must not hold a megabyte of parameters."""
_LITERAL = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|\b\d+(?:\.\d+)?\b", re.DOTALL)


class Recorder:
    """Records into a ring of `ring_records` (a power of two), announced in `directory`. Raises OutputError.

    `skip` names modules of the application that are never the ones that asked (its own session helpers). `stacks`:
    "first" gives the stack with the first sight of a site, "none" never.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ring_records: int = 65536,
        names_bytes: int = 2 << 20,
        stacks: str = "first",
        skip: tuple[str, ...] = (),
    ) -> None:
        self.directory = directory
        self.walker = Walker(skip)
        self.blind: list[str] = []
        """What this capture cannot tell, one sentence each."""
        self.connection_number = itertools.count(1).__next__
        self._stacks = stacks == "first"
        self._ring_options = {"records": ring_records, "names_bytes": names_bytes}
        self.forked: list[Any] = []
        """Called, each without arguments, in a forked child after its ring is open, or could not be opened."""
        self.followers: list[Callable[[Any], None]] = []
        """Called with each new ring."""
        self.blocking: list[Callable[[Any], None]] = []
        """Called with an event loop that runs where a sync pool is asked, at the first sight of the place."""
        self.ring: Any
        self.codes: dict[tuple[int, int], int] = {}
        """Numbers of sites seen, by (id of the code, instruction), and then of statements: hooks look here first."""
        self.statements: dict[str, int] = {}
        self._open()
        _recorders.add(self)

    def name(self, kind: str, text: str) -> int:
        """Return the number of a context, an error class or another name; 0 when there are too many."""
        number = self._numbers.get((kind, text))
        if number is None:
            key = "text" if kind == "statement" else "name"
            number = self._new(kind, (kind, text), {key: text})
        return number

    def context(self, name: str) -> int:
        """Return the number of an endpoint's or a transaction's name."""
        number = self._contexts.get(name)
        if number is None:
            number = self.name("context", name)
            if number:  # one too many is not remembered either: names may be made from ids
                self._contexts[name] = number
        return number

    def error(self, error: BaseException) -> int:
        """Return the number of an exception's class."""
        kind = type(error)
        return self.name(
            "error", kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )

    def statement(self, text: Any) -> int:
        """Return the number of a statement, named without its literals and cut at 300 characters."""
        text = text if isinstance(text, str) else str(text)
        if len(text) > _LONGEST:
            text = text[:_LONGEST]
        number = self.statements.get(text)
        if number is None:
            if len(self.statements) >= CAPS["statement"]:
                return 0
            plain = " ".join(_LITERAL.sub("?", text[:2000]).split())[:300]
            number = self.statements[text] = self.name("statement", plain)
        return number

    def first_sight(self, crossing: bool) -> int:
        """Return the number of the place that asked, found by the walker."""
        frame = self.walker.find(crossing)
        if frame is None:
            return 0
        number = self.site_of(place(frame), frame)
        if len(self.codes) < _CODES:
            self._codes_alive.append(frame.f_code)
            self.codes[id(frame.f_code), frame.f_lasti] = number
        if not crossing and number and (loop := running_loop()) is not None:
            self.note({"kind": "sync_in_loop", "n": number})
            for callback in self.blocking:
                callback(loop)
        return number

    def site_of(self, where: tuple[str, int, str], frame: FrameType | None = None) -> int:
        """Return the number of (file, line, function); `frame` is where its stack begins."""
        number = self._sites.get(where)
        if number is None:
            if len(self._sites) >= CAPS["site"]:
                return 0
            file, line, function = where
            entry: dict[str, Any] = {"file": file, "line": line, "function": function}
            if frame is not None and self._stacks:
                entry["stack"] = self.walker.stack(frame)
            number = self._new("site", where, entry)
            if number:
                self._sites[where] = number
        return number

    def pool(self, entry: dict[str, Any]) -> int:
        """Return a number for a new pool described by `entry`."""
        return self._new("pool", None, entry)

    def note(self, entry: dict[str, Any]) -> None:
        """Publish an entry that has no number of its own."""
        self.ring.write_name(json.dumps(entry).encode())

    def operation(
        self,
        intended_at: int,
        started_at: int,
        ended_at: int,
        context: str,
        item: int,
        client: int = 0,
        flags: int = 0,
        error: BaseException | str | None = None,
    ) -> None:
        """Record that a work item of the tape ended. Instants: monotonic nanoseconds; started_at 0: never started."""
        number = 0 if error is None else self.name("error", error) if isinstance(error, str) else self.error(error)
        self.ring.write(
            Kind.OPERATION,
            ended_at,
            0,
            int(flags) | (Flag.ERROR if number and not flags else 0),
            0,
            0,
            intended_at,
            started_at,
            self.context(context),
            item,
            client,
            number,
        )

    def sample(self, at: int, *, cpu: int, wall: int, in_flight: int, due: int, threads_cpu: int) -> None:
        """Record how the load generator itself is doing; `cpu`, `wall`, `threads_cpu`: nanoseconds since the last."""
        self.ring.write(Kind.SAMPLE, at, 0, 0, 0, 0, cpu, wall, in_flight, due, threads_cpu)

    def count_error(self) -> None:
        """Count an error of capture's own; it goes no further."""
        with contextlib.suppress(Exception):
            self.ring.counters[ERRORS] += 1

    def tell_blind(self, *sentences: str) -> None:
        """Say what cannot be told, once each, in the trace."""
        new = [sentence for sentence in sentences if sentence not in self.blind]
        if new:
            self.blind.extend(new)
            self._tell_about()

    def _tell_about(self) -> None:
        self.note({"kind": "capture", "compiled": COMPILED, "blind": self.blind})

    def close(self) -> None:
        """Say in the ring that nothing more will come. The ring stays for its reader."""
        _recorders.discard(self)
        ring = self.ring
        self._turn_to(NoRing())
        ring.close()

    def reopen(self) -> None:
        """Start over in a forked child: its own ring and names, nothing of the parent's."""
        self._turn_to(NoRing())  # whatever comes in between
        for begin in (self._open, self._tell_forked):
            try:
                begin()
            except Exception:  # no room, no directory: the child goes on, unwatched
                self._turn_to(NoRing())

    def _tell_forked(self) -> None:
        for callback in self.forked:
            callback()
        if self.blind:
            self._tell_about()

    def _turn_to(self, ring: Any) -> None:
        self.ring = ring
        for follow in self.followers:
            follow(ring)

    def _open(self) -> None:
        self._turn_to(RingWriter(self.directory, **self._ring_options))
        self.ring_path: Path = self.ring.path
        """Where the ring is; its reader removes it."""
        self._numbers: dict[Any, int] = {}
        self._contexts: dict[str, int] = {}
        self.statements.clear()
        self.codes.clear()
        self._sites: dict[tuple[str, int, str], int] = {}
        self._codes_alive: list[Any] = []
        self._counts = {kind: itertools.count(1).__next__ for kind in CAPS}
        anchor = self.ring.anchor
        sqlalchemy = sys.modules.get("sqlalchemy")
        process = {
            "kind": "process",
            "pid": os.getpid(),
            "parent": os.getppid(),
            "python": platform.python_version(),
            "sqlalchemy": getattr(sqlalchemy, "__version__", None),
            "anchor": [anchor.monotonic_ns, anchor.wall_ns],
            "argv0": sys.argv[0] if sys.argv else "",
            "ring": str(self.ring_path),
        }
        self.names_path = _fresh(self.directory / f"names-{os.getpid()}.jsonl")
        """By which poolctl finds the ring."""
        try:
            with self.names_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(process) + "\n")
        except OSError as error:
            self.ring_path.unlink(missing_ok=True)
            raise output_error(self.names_path, error) from None
        self.opened_by = os.getpid()
        """The process that has this ring and these names; in its forked children they are not theirs."""

    def _new(self, kind: str, key: Any, entry: dict[str, Any]) -> int:
        number = self._counts[kind]()
        if number > CAPS[kind]:
            return 0
        if not self.ring.write_name(json.dumps({"kind": kind, "n": number, **entry}).encode()):
            return 0
        if key is not None:
            self._numbers[key] = number
        return number


def _fresh(path: Path) -> Path:
    """Return a name that no other file has: after exec, or with a number used again, the pid's own is taken."""
    return next(
        name
        for number in itertools.count(1)
        if not (name := path if number == 1 else path.with_stem(f"{path.stem}-{number}")).exists()
    )


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _after_fork() -> None:
    for recorder in list(_recorders):
        recorder.reopen()


os.register_at_fork(after_in_child=_after_fork)
