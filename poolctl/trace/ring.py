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

from poolctl.clock import Anchor
from poolctl.trace.events import LAYOUTS, RECORD_BYTES, VERSION, Kind
from poolctl.trace.run import output_error

MAGIC = b"POOLRING"

HEADER = struct.Struct("<8sIIQQQqq")
"""magic, version, pid, records, offset of the names, offset of the records, monotonic ns, wall ns."""
COUNTERS_AT = 1024
PROMISE_AT = 2048
_NAMES_AT = mmap.PAGESIZE
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)  # the pages are there at once: no fault on the application's path
LENGTH = struct.Struct("<I")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's shared memory: a file there never meets a disk

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
        HEADER.pack_into(
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
        self.counters = view[COUNTERS_AT : COUNTERS_AT + 8 * len(COUNTERS)].cast("Q")
        """In the order of `COUNTERS`."""
        self.promise = view[PROMISE_AT : PROMISE_AT + 16].cast("Q")
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
        if count == 3 and first < self._mask - 1:  # a statement, the end of its transaction, the return
            sequences, slot = self._sequences, first << 3
            _PACK_END[2](self._body, first << 6, *fields)
            sequences[slot] = sequence
            sequences[slot + 8] = sequence + 1
            sequences[slot + 16] = sequence + 2
            return
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
        LENGTH.pack_into(self._names, offset, len(line))  # last: a length of 0 is "not written yet"
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
