"""Ring: shared memory through which a process tells what it saw, with no thread, no lock and no I/O of its own.

In: records and names from the writer (the application). Out: whole records and names to the reader (poolctl), also when
the writer hangs or was killed. Standard library only: it is carried into other people's processes.

The file: a header page, an append-only arena for names, then a ring of 64-byte records. The space is reserved when the
file is made, so that a full disk cannot kill the application with SIGBUS later.

Record n is written in three steps: its sequence is set to 0 and its body written (one `pack_into`, which stores the
fields in order), then the sequence becomes n. A reader copies and then looks at the sequences again: one that is not
what it was, or not the one expected, is not whole. The writer waits for nobody: a reader that is too slow
finds newer records in the place of older ones, and counts what it missed.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import tempfile
from pathlib import Path
from threading import RLock

from poolctl.clock import Anchor, monotonic_ns
from poolctl.errors import InputError
from poolctl.trace.events import LAYOUTS, RECORD_BYTES, VERSION, Kind
from poolctl.trace.run import output_error

MAGIC = b"POOLRING"

_HEADER = struct.Struct("<8sIIQQQqq")
"""magic, version, pid, records, offset of the names, offset of the records, monotonic ns, wall ns."""
_COUNTERS_AT = 1024
_PROMISE_AT = 2048
_NAMES_AT = mmap.PAGESIZE
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)  # the pages are there at once: no fault on the application's path
_LENGTH = struct.Struct("<I")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's shared memory: a file there never meets a disk

_PATIENCE = 10
"""Reads after which a record that was begun and not finished, with later ones behind it, is given up."""

COUNTERS = ("errors", "overhead_ns", "sampled", "names_dropped", "closed")
"""What the writer counts about itself, readable at any time and after its death."""

SAMPLE_EVERY = 64
"""The writer times itself in one lease of so many; `overhead_ns` is of those only."""

FIELDS = 12
"""Fields of a STATEMENT, of a RESET written as one, and of a CHECKIN record."""
_TOGETHER = 8
"""Records packed by one call, at most."""
_PACK_REQUEST = LAYOUTS[Kind.REQUEST].pack_into
_PACK_CHECKOUT = LAYOUTS[Kind.CHECKOUT].pack_into
_PACK_STATEMENT = LAYOUTS[Kind.STATEMENT].pack_into
_PACK_ACQUIRED = struct.Struct(LAYOUTS[Kind.REQUEST].format + LAYOUTS[Kind.CHECKOUT].format[1:]).pack_into
_PACK_END = [
    struct.Struct("<" + LAYOUTS[Kind.STATEMENT].format[1:] * n + LAYOUTS[Kind.CHECKIN].format[1:]).pack_into
    for n in range(_TOGETHER)
]
_PACK_WORDS = struct.Struct("<8Q").pack_into
_PACK = {int(kind): layout.pack_into for kind, layout in LAYOUTS.items()}


class RingWriter:
    """The writing end; `directory` is used when there is no shared memory. Raises OutputError when there is no room.

    `records` must be a power of two. Every method may be called from any thread.
    """

    def __init__(self, directory: Path, *, records: int = 65536, names_bytes: int = 2 << 20) -> None:
        if records < 2 or records & (records - 1):
            raise ValueError(f"records must be a power of two, not {records}")
        records_at = _NAMES_AT + _whole_pages(names_bytes)
        self.anchor = Anchor.now()
        """One instant on both clocks, when the ring was made."""
        self.path, self._memory = _reserve(directory, records_at + records * RECORD_BYTES)
        _HEADER.pack_into(
            self._memory,
            0,
            MAGIC,
            VERSION,
            os.getpid(),
            records,
            _NAMES_AT,
            records_at,
            self.anchor.monotonic_ns,
            self.anchor.wall_ns,
        )
        view = memoryview(self._memory)
        self._body = view[records_at:]
        self._sequences = view[records_at:].cast("Q")
        self._mask = records - 1
        self._following = 1
        self.counters = view[_COUNTERS_AT : _COUNTERS_AT + 8 * len(COUNTERS)].cast("Q")
        """In the order of `COUNTERS`."""
        self.promise = view[_PROMISE_AT : _PROMISE_AT + 16].cast("Q")
        """The reader's to write: until when (monotonic ns) it promises to read, and since when it does; 0 before."""
        self._names = view[_NAMES_AT:records_at]
        self._names_used = 0
        self._names_lock = RLock()

    def write(self, kind: int, at: int, lease: int, flags: int, pool: int, site: int, *payload: int) -> None:
        """Write one record of any kind; `payload` in the order of `events.PAYLOADS`."""
        self._following = (sequence := self._following) + 1  # one statement: nothing comes in between under a GIL
        offset = (sequence & self._mask) << 6
        _PACK[kind](self._body, offset, 0, at, lease, kind, flags, pool, site, *payload)
        self._sequences[offset >> 3] = sequence

    def words(self, at: int, lease: int, meta: int, first: int, second: int, third: int, fourth: int) -> None:
        """Write one record given as 64-bit words; `meta` is kind | flags << 8 | pool << 16 | site << 32."""
        self._following = (sequence := self._following) + 1  # one statement: nothing comes in between under a GIL
        offset = (sequence & self._mask) << 6
        _PACK_WORDS(self._body, offset, 0, at, lease, meta, first, second, third, fourth)
        self._sequences[offset >> 3] = sequence

    # A lease is two writes, not five records: packing three together costs little more than packing one.

    def acquired(
        self,
        lease: int,
        pool: int,
        site: int,
        requested_at: int,
        intended_at: int,
        task: int,
        context: int,
        item: int,
        waiting: int,
        checked_out: int,
        open_: int,
        at: int,
        flags: int,
        wait: int,
        connect: int,
        ping: int,
        connection: int,
        backend_pid: int,
    ) -> None:
        """Write a REQUEST and the CHECKOUT that answers it."""
        self._following = (sequence := self._following) + 2
        first = sequence & self._mask
        if first == self._mask:  # the ring's end is between them
            _PACK_REQUEST(
                self._body, first << 6, 0, requested_at, lease, 1, 0, pool, site,
                intended_at, task, context, item, waiting, checked_out, open_,
            )  # fmt: skip
            _PACK_CHECKOUT(
                self._body, 0, 0, at, lease, 2, flags, pool, site, wait, connect, ping, connection, backend_pid
            )
            self._sequences[first << 3] = sequence
            self._sequences[0] = sequence + 1
            return
        _PACK_ACQUIRED(
            self._body, first << 6, 0, requested_at, lease, 1, 0, pool, site,
            intended_at, task, context, item, waiting, checked_out, open_,
            0, at, lease, 2, flags, pool, site, wait, connect, ping, connection, backend_pid,
        )  # fmt: skip
        self._sequences[first << 3] = sequence
        self._sequences[(first << 3) + 8] = sequence + 1

    def end(self, fields: list[int]) -> None:
        """Write any number of STATEMENT records (RESET has the same layout) and a CHECKIN: their fields, in order."""
        count = len(fields) // FIELDS
        self._following = (sequence := self._following) + count
        first = sequence & self._mask
        if count <= len(_PACK_END) and first + count <= self._mask + 1:
            _PACK_END[count - 1](self._body, first << 6, *fields)
        else:
            for n in range(count):
                pack = _PACK_END[0] if n == count - 1 else _PACK_STATEMENT
                pack(self._body, ((first + n) & self._mask) << 6, *fields[n * FIELDS : (n + 1) * FIELDS])
        for sequence in range(sequence, sequence + count):  # noqa: B020 - from the first on
            self._sequences[(sequence & self._mask) << 3] = sequence

    def write_name(self, line: bytes) -> bool:
        """Publish one line for the names file; False when the arena is full."""
        size = 4 + len(line) + (-len(line) % 4)
        with self._names_lock:  # a collector's callback in this very thread may come in between: two plain stores
            offset = self._names_used
            fits = offset + size + 4 <= len(self._names)
            self._names_used = offset + size if fits else offset
        if not fits:
            self.counters[COUNTERS.index("names_dropped")] += 1
            return False
        self._names[offset + 4 : offset + 4 + len(line)] = line
        _LENGTH.pack_into(self._names, offset, len(line))  # last: a length of 0 is "not written yet"
        return True

    def close(self) -> None:
        """Say that nothing more will come, and let go of the memory. The file stays for the reader."""
        self.counters[COUNTERS.index("closed")] = 1
        for view in (self._body, self._sequences, self.counters, self._names, self.promise):
            view.release()


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _reserve(directory: Path, size: int) -> tuple[Path, mmap.mmap]:
    places = [SHARED_MEMORY] if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK) else []
    for place in (*places, directory):
        try:
            fd, name = tempfile.mkstemp(prefix=f"poolctl-{os.getpid()}-", suffix=".ring", dir=place)
        except OSError as error:
            if place is directory:
                raise output_error(directory, error) from None
            continue
        try:
            os.posix_fallocate(fd, 0, size)
            return Path(name), mmap.mmap(fd, size, mmap.MAP_SHARED | _POPULATE)
        except OSError as error:
            Path(name).unlink(missing_ok=True)
            if place is directory:
                raise output_error(directory, error) from None
        finally:
            os.close(fd)
    raise output_error(directory, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


class RingReader:
    """The reading end. Raises InputError when the file is not a ring of this version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the ring {path}: {error}", "the process that wrote it is gone") from None
        if self._memory[:8] != MAGIC or _HEADER.unpack_from(self._memory)[1] != VERSION:
            raise InputError(f"{path} is not a ring of this version", "use one poolctl on both sides")
        _, _, self.pid, self._records, names_at, records_at, *anchor = _HEADER.unpack_from(self._memory)
        self.anchor = (int(anchor[0]), int(anchor[1]))
        """(monotonic ns, wall ns) of one instant."""
        view = memoryview(self._memory)
        self._view = view
        self._body = view[records_at : records_at + self._records * RECORD_BYTES]
        self._sequences = self._body.cast("Q")[:: RECORD_BYTES // 8]
        self._names = view[names_at:records_at]
        self._counters = view[_COUNTERS_AT : _COUNTERS_AT + 8 * len(COUNTERS)].cast("Q")
        self._promise = view[_PROMISE_AT : _PROMISE_AT + 16].cast("Q")
        self._promise[1] = monotonic_ns()
        self._names_read = 0
        self._expected = 1
        self._stuck = 0
        self.dropped = 0
        """Records that were overwritten before they were read, or never finished."""

    @property
    def counters(self) -> dict[str, int]:
        """What the writer counted about itself so far."""
        return dict(zip(COUNTERS, self._counters.tolist(), strict=True))

    def catch_up(self) -> None:
        """Begin with the oldest record that is still there: a reader who comes late has lost nothing."""
        self._step_over(final=False)
        self.dropped = 0

    def promise(self, until: int) -> None:
        """Tell the writer that somebody will read until then (monotonic ns): without that, a guest takes its leave."""
        self._promise[0] = until

    @property
    def promised(self) -> int:
        """Until when (monotonic ns) somebody promised to read; 0 when nobody did yet."""
        return int(self._promise[0])

    def read(self, *, final: bool = False) -> bytes:
        """Return the whole records since the last call. `final`: step over unfinished ones at once."""
        parts: list[bytes] = []
        while True:
            part = self._chunk()
            if part:
                parts.append(part)
                self._stuck = 0
            elif not self._step_over(final=final):
                return b"".join(parts)

    def read_names(self) -> bytes:
        """Return the names since the last call, one JSON object a line."""
        lines: list[bytes] = []
        while self._names_read + 4 <= len(self._names):
            (length,) = _LENGTH.unpack_from(self._names, self._names_read)
            if not length:
                break
            start = self._names_read + 4
            lines.append(bytes(self._names[start : start + length]))
            self._names_read = start + length + (-length % 4)
        return b"".join(line + b"\n" for line in lines)

    def close(self) -> None:
        """Let go of the memory."""
        for view in (self._body, self._sequences, self._names, self._counters, self._promise, self._view):
            view.release()
        self._memory.close()

    def _chunk(self) -> bytes:
        """Copy the whole records from the expected one to the ring's end, 4096 at most."""
        first = self._expected & (self._records - 1)
        count = min(4096, self._records - first)
        window = self._sequences[first : first + count]
        count = _matching(window.tolist(), self._expected)
        data = bytes(self._body[first * RECORD_BYTES : (first + count) * RECORD_BYTES])
        count = _matching(window[:count].tolist(), self._expected)  # overwritten while they were copied?
        self._expected += count
        return data[: count * RECORD_BYTES]

    def _step_over(self, *, final: bool) -> bool:
        """Skip what can no longer be read; False when there is nothing more to read."""
        mask = self._records - 1
        found = self._sequences[self._expected & mask]
        if (
            found > self._expected
        ):  # lapped: go an eighth of the ring ahead of the writer, not to be lapped again at once
            newest = max(self._sequences.tolist())
            following = max(self._expected + 1, newest - self._records + 1 + self._records // 8)
        else:
            after = (self._expected + 1) & mask
            if max(self._sequences[after : after + 64].tolist(), default=0) <= self._expected:
                self._stuck = 0
                return False
            self._stuck += 1  # later ones are there: its writer was interrupted, or died or failed between two stores
            if self._stuck < _PATIENCE and not final:
                return False
            following = self._expected + 1
        self.dropped += following - self._expected
        self._expected = following
        self._stuck = 0
        return True


def _matching(sequences: list[int], expected: int) -> int:
    """Return how many leading `sequences` are the expected ones, counting up by one."""
    if sequences == list(range(expected, expected + len(sequences))):
        return len(sequences)
    return next(n for n, sequence in enumerate(sequences) if sequence != expected + n)
