"""Event file: the records of one process, append-only, readable up to the last whole record.

In: a process's number and clock anchor, or a path. Out: the file's first 64 bytes, or its records. Standard library
only; knows the size of a record and nothing of what is in it.
"""

from __future__ import annotations

import struct
from pathlib import Path

from poolctl.errors import InputError
from poolctl.trace.events import RECORD_BYTES, VERSION

MAGIC = b"POOLCTL1"
"""The first eight bytes of every event file."""

_HEADER = struct.Struct("<8sIIIIqq24x")
"""magic, version, bytes a record, pid, spare, monotonic ns, wall ns; 64 bytes."""


def header(pid: int, anchor: tuple[int, int]) -> bytes:
    """Return the first 64 bytes of process `pid`'s event file; `anchor` is (monotonic ns, wall ns) of one instant."""
    return _HEADER.pack(MAGIC, VERSION, RECORD_BYTES, pid, 0, *anchor)


def read_header(path: Path) -> tuple[int, tuple[int, int]]:
    """Return the pid and the clock anchor of an event file. Raises InputError."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if len(head) < _HEADER.size or head[:8] != MAGIC:
        raise InputError(f"{path} is not an event file", "the files of a run are named events-<pid>.bin")
    _, version, record_bytes, pid, _, monotonic_ns, wall_ns = _HEADER.unpack(head)
    if version != VERSION or record_bytes != RECORD_BYTES:
        raise InputError(
            f"{path} has record layout {version}, this poolctl reads {VERSION}", "use the poolctl that recorded it"
        )
    return pid, (monotonic_ns, wall_ns)


def read_records(path: Path) -> memoryview:
    """Return the whole records of an event file, one after the other. Raises InputError.

    A torn tail (the recording was killed, the disk was full) is left out.
    """
    read_header(path)
    data = memoryview(path.read_bytes())[_HEADER.size :]
    return data[: len(data) // RECORD_BYTES * RECORD_BYTES]
