"""Records: the raw event file of one process as numpy columns, one table a kind.

In: an event file (64 bytes of header, then whole records, perhaps a torn last one). Out: `Columns`. The file is read in
pieces and only the fields that analysis needs are kept: five million records need not fit in memory whole.
Knows nothing of leases.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poolctl.errors import InputError
from poolctl.trace.eventfile import read_header
from poolctl.trace.events import PAYLOADS, RECORD_BYTES, Kind

Array = npt.NDArray[Any]

FILE_HEADER_BYTES = 64
"""`trace.eventfile.header`."""
PIECE = 1 << 18
"""Records read at a time: 16 MB."""

_CODES = {"q": "<i8", "Q": "<u8", "I": "<u4", "H": "<u2"}
_HEADER = [
    ("sequence", "<u8"),
    ("at", "<i8"),
    ("lease", "<u8"),
    ("kind", "u1"),
    ("flags", "u1"),
    ("pool", "<u2"),
    ("site", "<u4"),
]
PLAIN = np.dtype([*_HEADER, ("payload", "V32")])
"""A record whose kind is not known yet."""
DTYPES = {
    kind: np.dtype([*_HEADER, *((name, _CODES[code]) for name, code in fields)]) for kind, fields in PAYLOADS.items()
}
"""The whole record as numpy sees it, by kind: the same bytes as `trace.events.LAYOUTS`."""

WANTED: dict[Kind, tuple[str, ...]] = {
    Kind.REQUEST: (
        "at",
        "lease",
        "flags",
        "pool",
        "site",
        "intended_at",
        "task",
        "context",
        "item",
        "waiting",
        "checked_out",
    ),
    Kind.CHECKOUT: ("at", "lease", "flags", "pool", "site", "wait", "connect", "ping", "connection", "backend_pid"),
    Kind.REFUSED: ("at", "lease", "flags", "pool", "site", "wait", "connect", "ping", "error"),
    Kind.STATEMENT: ("at", "lease", "flags", "started_at"),
    Kind.CHECKIN: ("at", "lease", "flags", "pool", "site", "sql", "reset", "checkin", "statements", "transactions"),
    Kind.CONNECT: ("at", "lease", "flags", "pool", "connect", "connection", "backend_pid"),
    Kind.CLOSE: ("at", "lease", "flags", "pool", "close", "connection"),
    Kind.DETACH: ("at", "lease", "flags", "pool", "site", "sql", "connection", "statements", "transactions"),
    Kind.INVALIDATE: ("at", "lease", "pool", "connection", "error"),
    Kind.TRACE: ("lease", "trace_high", "trace_low"),
    Kind.OPERATION: ("at", "flags", "intended_at", "started_at", "context", "item", "client", "error"),
    Kind.SAMPLE: ("at", "cpu", "wall", "in_flight", "due"),
    Kind.LAG: ("at", "lag", "queued"),
}
"""The fields that are kept. RESET says nothing that CHECKIN does not."""


@dataclass(slots=True)
class Columns:
    """Everything kept from one event file."""

    pid: int
    count: int = 0
    """Whole records in the file."""
    lost: int = 0
    """Records that were numbered but are not in the file."""
    tables: dict[Kind, dict[str, Array]] = field(default_factory=dict)
    """Column by field name, by kind; every wanted kind is there, perhaps empty. In the order of the file."""


def read(path: Path) -> Columns:
    """Read one event file; one that was made but never written has no records.

    Raises InputError when it is not an event file, or of another version.
    """
    pieces: dict[Kind, dict[str, list[Array]]] = {kind: {name: [] for name in names} for kind, names in WANTED.items()}
    columns = Columns(pid=0)
    first, last = 0, 0
    try:
        if path.stat().st_size:
            columns.pid, _ = read_header(path)
        with path.open("rb") as file:
            file.seek(FILE_HEADER_BYTES)
            while True:
                raw = np.fromfile(file, dtype=PLAIN, count=PIECE)
                if len(raw) == 0:
                    break
                columns.count += len(raw)
                first = first or int(raw["sequence"].min())  # more than 1 when the reader came late
                last = max(last, int(raw["sequence"].max()))
                _split(raw, pieces)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "is the disk whole, and the file yours?") from None
    columns.lost = max(0, last - first + 1 - columns.count) if columns.count else 0
    for kind, fields in pieces.items():
        columns.tables[kind] = {}
        for name in list(fields):
            columns.tables[kind][name] = _join(fields.pop(name), DTYPES[kind][name])
    return columns


def first_instant(path: Path) -> int:
    """Return the instant of the first record of a file, in nanoseconds; 0 when there is none."""
    with path.open("rb") as file:
        file.seek(FILE_HEADER_BYTES)
        first = np.fromfile(file, dtype=PLAIN, count=1)
    return int(first["at"][0]) if len(first) else 0


def split(raw: bytes | memoryview) -> dict[Kind, Array]:
    """Return whole records out of bytes as structured arrays, by kind; kinds that do not occur are missing."""
    usable = len(raw) - len(raw) % RECORD_BYTES
    records = np.frombuffer(raw, dtype=PLAIN, count=usable // RECORD_BYTES)
    found: dict[Kind, Array] = {}
    for kind, dtype in DTYPES.items():
        mask = records["kind"] == int(kind)
        if mask.any():
            found[kind] = records[mask].view(dtype)
    return found


def _split(raw: Array, pieces: dict[Kind, dict[str, list[Array]]]) -> None:
    kinds = raw["kind"]
    for kind, fields in pieces.items():
        chosen = raw[kinds == int(kind)]
        if len(chosen):
            typed = chosen.view(DTYPES[kind])
            for name, parts in fields.items():
                parts.append(np.ascontiguousarray(typed[name]))


def _join(parts: list[Array], dtype: np.dtype[Any]) -> Array:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)
