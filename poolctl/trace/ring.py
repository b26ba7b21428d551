"""Ring: shared memory through which a process tells what it saw, with no thread, no lock and no I/O of its own.

In: records and names from the writer (the application). Out: whole records and names to the reader (poolctl), also when
the writer hangs or was killed. Standard library only: it is carried into other people's processes.

The file: a header page, an append-only arena for names, then a ring of 64-byte records. The space is reserved when the
file is made, so that a full disk cannot kill the application with SIGBUS later.

Record n is written by `trace.tail`, or by one `pack_into`, which clears its 64 bytes first: both strike out the
sequence of what was there, store the fields in order, and the sequence n last: here it is the last word of a record,
where the documented ones (`trace.events`) begin with it. A reader copies and then looks at the sequences again: one
that is not what it was, or not the one expected, is not whole. The writer waits for nobody: a reader that is too slow
finds newer records in the place of older ones, and counts what it missed.

Most leases go one way: asked, had at once, one statement, returned. The ring has two kinds of record for those, which
say it all in few fields (`ACQUIRED`, `RETURNED`); the reader makes the documented ones of them (`trace.compact`).
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import tempfile
from pathlib import Path
from threading import RLock
from typing import Any

from poolctl.clock import Anchor
from poolctl.trace.events import LAYOUTS, RECORD_BYTES
from poolctl.trace.run import output_error
from poolctl.trace.tail import Tail

MAGIC = b"POOLRING"
VERSION = 2
"""Version of what is in the ring; both sides are one poolctl's."""

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

ACQUIRED, RETURNED = 128, 129
"""Kinds that only the ring has. They begin as all others: at, lease, kind, flags, pool, site.

ACQUIRED (`at` is the request, the flags are the checkout's): task, connection, backend pid; 32 bits each: acquire time,
then 16 bits each waiting and checked_out, then open, context.
RETURNED (`at` is the end): 32 bits each: for the statement, the end of the transaction and the return, how long before
`at` it began and how long it took (the return: its reset; 0 for what was not); number of the statement; other sql time.
"""
NO_STATEMENT = (1 << 30) - 1  # CPython compares ints of up to 30 bits without a call
"""The statement's number in RETURNED when there was none; 0 is one without a name."""
RESET_WORTH_NS = 20_000
"""A shorter reset gets no record of its own; the CHECKIN carries its time anyway."""
_PACK = {int(kind): struct.Struct("<" + layout.format[2:] + "Q").pack_into for kind, layout in LAYOUTS.items()}


class RingWriter(Tail):
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
        super().__init__(view[records_at:], records)
        self.counters = view[COUNTERS_AT : COUNTERS_AT + 8 * len(COUNTERS)].cast("Q")
        """In the order of `COUNTERS`."""
        self.promise = view[PROMISE_AT : PROMISE_AT + 16].cast("Q")
        """The reader's to write: until when (monotonic ns) it promises to read, and since when it does; 0 before."""
        self._names = view[_NAMES_AT:records_at]
        self._names_used = 0
        self._names_lock = RLock()

    def write(self, kind: int, at: int, lease: int, flags: int, pool: int, site: int, *payload: int) -> None:
        """Write one record of any documented kind; `payload` in the order of `events.PAYLOADS`."""
        self.following = (sequence := self.following) + 1  # one statement: nothing comes in between under a GIL
        _PACK[kind](self.body, (sequence & self.mask) << 6, at, lease, kind, flags, pool, site, *payload, sequence)

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
        body = self.body
        self.aim(bytearray(RECORD_BYTES), 1)  # whoever still has this ring writes to nobody
        for view in (body, self.counters, self._names, self.promise):
            view.release()


class NoRing(Tail):
    """A ring that takes everything and keeps nothing: for a recorder that was closed, or has no room after a fork."""

    def __init__(self) -> None:
        super().__init__(bytearray(RECORD_BYTES), 1)
        self.counters = [0] * len(COUNTERS)
        self.promise = [0, 0]

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_more: False


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
