"""Pool log: a run from the DEBUG log of a pool, without touching the application.

In: a log of any size (`sqlalchemy.pool`, `psycopg.pool`) and an empty run directory. Out: the run's records, names and
run.json, as capture would have left them, and a `LogSummary`. What a log cannot tell is told as such (`blind`). One
pass, in constant memory. Knows nothing of what the leases mean.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from poolctl.clock import NS
from poolctl.errors import InputError
from poolctl.target.log_blind import WHAT_TO_SWITCH_ON, Facts, blind_lines
from poolctl.target.log_formats import APPLICATIONS, SAMPLE, Entry, Layout, Said, take_apart
from poolctl.target.log_leases import Ledger
from poolctl.target.log_lifecycle import Lifecycle
from poolctl.target.log_lines import lines_with, read_blocks
from poolctl.target.log_messages import CLUES, What
from poolctl.target.log_psycopg import POOL_CLASS, PSYCOPG, PsycopgLifecycle
from poolctl.target.log_records import LogProcess, Records
from poolctl.target.log_summary import LogSummary, meta_of
from poolctl.trace.report import PoolSettings
from poolctl.trace.run import Run

STRETCH = 31 * 86_400 * NS
"""A time that is further from those of the pools' lines is none."""
STRANGE = 32
"""Lines without a time, one after the other, after which the format is learned anew."""
LOOK_BACK = 1 << 16
"""Bytes before a traceback's last line in which its record's first line is looked for."""


def read_log(
    source: Path | BinaryIO, run: Run, *, known: Mapping[str, Any] | None = None, objectives: Sequence[str] = ()
) -> LogSummary:
    """Read a pool's log into `run`. Path("-") is the standard input, which may be interrupted.

    `known` are settings of the pool that the user knows, by the names of `report.PoolSettings`; a line that quotes
    others is right.

    Raises InputError when the log cannot be read, says nothing of a pool, or has no times; OutputError when the run
    cannot be written.
    """
    reader = _Reader(source, run, {name: value for name, value in (known or {}).items() if value is not None})
    try:
        reader.read()
    except KeyboardInterrupt:
        reader.interrupted = True
    return reader.finish(objectives)


class _Reader:
    """How far a log was read, and what was found."""

    def __init__(self, source: Path | BinaryIO, run: Run, known: dict[str, Any]) -> None:
        path = source if isinstance(source, Path) and str(source) != "-" else None
        ended = path.stat().st_mtime if path is not None and path.is_file() else time.time()
        self.source, self.run = source, run
        self.name = path.name if path is not None else "the standard input"
        self.ended = datetime.fromtimestamp(ended, UTC)
        self.layout = Layout(self.ended)
        self.records = Records(run, {name: known[name] for name in PoolSettings.__dataclass_fields__ if name in known})
        self.ledger = Ledger(self.records)
        self.lifecycle, self.psycopg = Lifecycle(self.ledger), PsycopgLifecycle(self.ledger)
        self.seen: Counter[What] = Counter()
        self.lines = self.untimed = self.backwards = 0
        self.interrupted = self.learned = self.timed = self.identified = False
        self.first = self.last = 0
        """Instants of the first and the last line, in nanoseconds since 1970."""
        self._sample: list[tuple[Said, bytes]] = []
        self._head = self._tail = b""
        self._strange = self._before = 0
        self._writer: LogProcess | None = None
        """Who wrote the last line that says so."""

    def read(self) -> None:
        """Read all lines."""
        for block in read_blocks(self.source):
            self._head = self._head or block[:LOOK_BACK]
            for start, line in lines_with(block, CLUES):
                said = take_apart(line.decode("utf-8", "replace").rstrip("\r"))
                if said is not None and said.message.what in APPLICATIONS:
                    self._take(said, self._tail + block[max(0, start - LOOK_BACK) : start])
                elif said is not None:
                    self._take(said, b"")
            self.lines += block.count(b"\n")
            self._tail = block[-LOOK_BACK:]

    def finish(self, objectives: Sequence[str]) -> LogSummary:
        """Close everything and write what the run is."""
        if not self.learned and (self._sample or not self.timed):
            self._learn()
        self._refuse_useless()
        self._look_at_edges()
        self.lifecycle.finish()
        self.psycopg.finish()
        blind = blind_lines(self._facts())
        self.records.finish(self.name, blind)
        summary = self._summary(blind)
        self.run.write_meta(meta_of(summary, self.records, objectives))
        return summary

    def _take(self, said: Said, above: bytes) -> None:
        if self.learned:
            self._hear(said, above)
            return
        self._sample.append((said, above))
        if len(self._sample) >= SAMPLE:
            self._learn()

    def _learn(self) -> None:
        """Learn how the lines are written: at the beginning, and where a log goes on in another format."""
        self.learned, self._strange, self.layout = True, 0, Layout(self.ended)
        self.layout.learn([said for said, _ in self._sample if said.message.what not in APPLICATIONS])
        for said, above in self._sample:
            self._hear(said, above)
        self._sample.clear()

    def _hear(self, said: Said, above: bytes) -> None:
        if above and said.fields is None:
            found = self._in_its_record(said, above)
            if found is None:
                return
            said = found
        entry = self.layout.read(said)
        if entry is None:
            return
        self.seen[entry.message.what] += 1
        at = entry.at
        if entry.message.what is What.NAMELESS:
            return
        self._strange = self._strange + 1 if at is None else 0
        if at is None:  # as if written with the line before it
            self.untimed += 1
            self.learned = self.learned and (self._strange < STRANGE or not self.timed)
            at = self.last = self.last if self.timed else self.last + NS
        elif not self.timed:
            self.timed, self.first = True, at
            self.records.anchor = (at, at)
        elif at < self._before - NS:
            self.backwards += 1
        self._before, self.first, self.last = at, min(self.first, at), max(self.last, at)
        process = self._process(entry)
        self.identified = self.identified or bool(entry.task or entry.thread)
        (self.psycopg if entry.message.what in PSYCOPG else self.lifecycle).hear(entry, process, at)

    def _process(self, entry: Entry) -> LogProcess:
        """Return whose line it is: one that does not say, where others do, is of the process that wrote before it."""
        told = entry.process
        silent = self.layout.names_processes and not told[1]
        stranger = entry.message.what in APPLICATIONS and told not in self.records.processes
        if self._writer is not None and (silent or stranger):
            return self._writer
        self._writer = self.records.process(told)
        return self._writer

    def _in_its_record(self, said: Said, above: bytes) -> Said | None:
        """Return an exception's line with its record's first line, which has the time; None: it was there already."""
        if self.layout.clock.read(said.outside) is not None:
            return said
        for line in reversed(above.splitlines()):
            text = line.decode("utf-8", "replace")
            if self.layout.clock.read(text) is not None:
                return said._replace(outside=f"{text}\0")
            if text.strip() == said.text.strip():
                return None
        return said

    def _refuse_useless(self) -> None:
        """Say in one line why nothing can be made of a log, and what to switch on."""
        taken = self.seen[What.CHECKED_OUT] + self.seen[What.RETURNING] + self.seen[What.GIVEN]
        told = f"{self.name} ({self.lines:,} lines)"
        if taken and self.timed:
            return
        if taken:
            self.lifecycle.finish()
            self.psycopg.finish()
            ends = ", ".join(f"{count:,} {end}" for end, count in sorted(self.ledger.ends.items()))
            message = f"{told} has no times, so nothing can be measured; its lines make {ends}"
        elif self.seen[What.NAMELESS]:
            count = self.seen[What.NAMELESS]
            message = f"the {count:,} lines of a pool in {told} do not name their connection: nothing can be followed"
        elif self.seen:
            message = (
                f"{told} says something of a pool, but not when a connection was taken: its logger is not at DEBUG"
            )
        else:
            message = f"{told} says nothing of a connection pool"
        raise InputError(message, WHAT_TO_SWITCH_ON)

    def _look_at_edges(self) -> None:
        """The log began before the first line of a pool, and ended after the last one."""
        first, last = self.first, self.last
        for line in self._head.splitlines():
            at = self.layout.instant(line.decode("utf-8", "replace"))
            if at is not None and first - STRETCH <= at <= first:
                self.first = at
                break
        for line in reversed(self._tail.splitlines()):
            at = self.layout.instant(line.decode("utf-8", "replace"))
            if at is not None and last <= at <= last + STRETCH:
                self.last = at
                break
        self.records.anchor = (self.first, self.first - self._ahead())

    def _ahead(self) -> int:
        """Nanoseconds that the log's times are ahead of UTC: as this machine's are, where the log does not say."""
        if self.layout.clock.zoned:
            return 0
        offset = datetime.fromtimestamp(self.first / NS, UTC).replace(tzinfo=None).astimezone().utcoffset()
        return round(offset.total_seconds()) * NS if offset is not None else 0

    def _facts(self) -> Facts:
        pools = [pool for process in self.records.processes.values() for pool in process.pools.values()]
        mine = [pool for pool in pools if pool.pool_class != POOL_CLASS]
        return Facts(
            resolution_s=self.layout.clock.resolution_s,
            zoned=self.layout.clock.zoned,
            sqlalchemy=bool(mine),
            psycopg=len(mine) < len(pools),
            names_processes=self.layout.names_processes,
            names_tasks=self.identified,
            pools_alike=any(not pool.name for pool in mine),
            shared=any(pool.shared for pool in mine),
            timeouts=self.seen[What.LIMIT],
            orphans=self.ledger.orphans,
            unclear=self.ledger.unclear,
            untimed=self.untimed,
            nameless=self.seen[What.NAMELESS],
            duplicates=self.lifecycle.echoes.count,
            backwards=self.backwards,
            in_order=self.psycopg.in_order,
            interrupted=self.interrupted,
        )

    def _summary(self, blind: list[str]) -> LogSummary:
        processes = self.records.processes.values()
        return LogSummary(
            source=self.name,
            lines=self.lines,
            pool_lines=self.seen.total(),
            malformed=self.untimed + self.seen[What.NAMELESS],
            duplicates=self.lifecycle.echoes.count,
            leases=sum(self.ledger.ends.values()),
            ends=dict(self.ledger.ends),
            orphans=self.ledger.orphans,
            unclear=self.ledger.unclear,
            processes=len(processes),
            pools=[pool for process in processes for pool in process.pools.values()],
            started_at=datetime.fromtimestamp(self.records.anchor[1] / NS, UTC),
            duration_s=(self.last - self.first) / NS,
            resolution_s=self.layout.clock.resolution_s,
            interrupted=self.interrupted,
            blind=blind,
        )
