"""Compact: the ring's own records of a lease that goes the common way, and what they mean in the documented ones.

In: the bytes of whole records as they are in the ring, where the sequence comes last. Out: the records of
`trace.events`, where it comes first. A lease that waited for nothing and ran one statement is two records in the ring:
ACQUIRED (a REQUEST and its CHECKOUT) and RETURNED (a STATEMENT, the end of its transaction, a RESET, the CHECKIN). Runs
in poolctl: what is computed here, the application need not compute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from poolctl.trace.events import RECORD_BYTES, Flag, Kind
from poolctl.trace.ring import ACQUIRED, NO_STATEMENT, RESET_WORTH_NS, RETURNED

Words = npt.NDArray[Any]

_LOW = np.uint64(0xFFFFFFFF)
_32, _16, _8 = np.uint64(32), np.uint64(16), np.uint64(8)
_SEQUENCE, _AT, _LEASE, _META, _PAYLOAD = 0, 1, 2, 3, 4


def expand(raw: bytes, first: int) -> bytes:
    """Return whole records of the ring as documented ones, numbered from `first` on."""
    ring = np.frombuffer(raw, "<u8").reshape(-1, RECORD_BYTES // 8)
    kinds = ring[:, 2] & np.uint64(0xFF)
    acquired, returned = ring[kinds == ACQUIRED], _Returned(ring[kinds == RETURNED])
    counts = np.ones(len(ring), np.int64)
    counts[kinds == ACQUIRED] = 2
    counts[kinds == RETURNED] = returned.counts
    ends = np.cumsum(counts)
    starts = ends - counts
    out = np.zeros((int(ends[-1]) if len(ends) else 0, RECORD_BYTES // 8), np.uint64)
    plain = (kinds != ACQUIRED) & (kinds != RETURNED)
    out[starts[plain], 1:] = ring[plain, :-1]
    _acquired(out, starts[kinds == ACQUIRED], acquired)
    returned.put(out, starts[kinds == RETURNED])
    out[:, _SEQUENCE] = np.arange(first, first + len(out), dtype=np.uint64)
    return out.astype("<u8").tobytes()


def _acquired(out: Words, at: Words, ring: Words) -> None:
    requested_at, lease, meta, task, connection, counts, more = (ring[:, column] for column in range(7))
    of_pool = meta >> _16 << _16
    out[at, _AT], out[at, _LEASE], out[at, _META] = requested_at, lease, of_pool | np.uint64(Kind.REQUEST)
    out[at, _PAYLOAD + 1] = task
    out[at, _PAYLOAD + 2] = more >> _32
    out[at, _PAYLOAD + 3] = counts >> _32 | more << _32
    out[at + 1, _AT], out[at + 1, _LEASE] = requested_at + (counts & _LOW), lease
    out[at + 1, _META] = meta >> _8 << _8 | np.uint64(Kind.CHECKOUT)
    out[at + 1, _PAYLOAD + 3] = connection


class _Returned:
    """RETURNED records; each becomes one to four."""

    def __init__(self, ring: Words) -> None:
        self._ring = ring
        self._before, self._took = ring[:, 3:6] & _LOW, ring[:, 3:6] >> _32
        """Of the statement, the end of the transaction and the reset: beginnings before the end, and times."""
        self._statement = ring[:, 6] & _LOW
        self._has = np.column_stack(
            (self._statement != NO_STATEMENT, self._took[:, 1] > 0, self._took[:, 2] >= RESET_WORTH_NS)
        )
        self.counts: Words = 1 + self._has.sum(axis=1)

    def put(self, out: Words, at: Words) -> None:
        """Write the documented records, each lease's from row `at` on."""
        ring, took = self._ring, np.where(self._has, self._took, 0).astype(np.uint64)
        ended_at, lease, meta = (ring[:, column] for column in range(3))
        began_at = ended_at[:, None] - self._before
        of_pool = meta >> _16 << _16
        control = np.uint64(int(Kind.STATEMENT) | int(Flag.SKIPPED) << 8)
        row = at.copy()
        for part, kind in enumerate((np.uint64(Kind.STATEMENT), control, np.uint64(Kind.RESET))):
            has = self._has[:, part]
            there = row[has]
            out[there, _AT] = (began_at[:, part] + self._took[:, part])[has]
            out[there, _LEASE], out[there, _META] = lease[has], (of_pool | kind)[has]
            out[there, _PAYLOAD] = began_at[has, part]
            if part == 0:
                out[there, _PAYLOAD + 1] = self._statement[has]
            row = row + has
        ends = self._has[:, 1] & (self._before[:, 1] <= self._before[:, 0]) | (self._took[:, 2] > 0)
        out[row, _AT], out[row, _LEASE], out[row, _META] = ended_at, lease, meta >> _8 << _8 | np.uint64(Kind.CHECKIN)
        out[row, _PAYLOAD] = took[:, 0] + took[:, 1] + (ring[:, 6] >> _32)
        out[row, _PAYLOAD + 1] = self._took[:, 2]
        out[row, _PAYLOAD + 2] = self._before[:, 2]
        statements = self._has[:, 0].astype(np.uint64)
        out[row, _PAYLOAD + 3] = statements | (statements & ends.astype(np.uint64)) << _32
