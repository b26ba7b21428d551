"""Tail: the end of a ring, where its writer puts the next record. Standard library only; compiled where that can be.

In: a record as 64-bit words. Out: the record in shared memory, its sequence last, never half of it to a reader's eyes:
what was in its place is struck out first.
"""

from __future__ import annotations

import struct
from typing import Any

from poolctl.trace.events import RECORD_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    import cython
else:
    from poolctl import uncompiled as cython

COMPILED = bool(cython.compiled)
"""Whether this module, and so its companions, run as machine code."""

_PACK = struct.Struct("<8Q").pack_into  # clears its 64 bytes first

if not cython.compiled:
    address: Any = None
    """C's, in the .pxd: the memory of a buffer."""
    store: Any = None
    """C's, in the .pxd: a record into it."""


class Tail:
    """Writes into `body`, a writable buffer of `records` (a power of two) times 64 bytes."""

    __slots__ = ("body", "following", "mask")

    body: Any
    """The records."""
    mask: int
    following: int
    """Sequence of the next record."""

    def __init__(self, body: Any, records: int) -> None:
        self.following = 1
        self.aim(body, records)

    def aim(self, body: Any, records: int) -> None:
        """Write into another buffer from now on; the one of before is let go."""
        if not 0 < records * RECORD_BYTES <= len(body):  # C looks no further
            raise ValueError(f"{len(body)} bytes are no {records} records")
        if cython.compiled:
            self.words_at = address(body)  # type: ignore[misc] # C's
        self.body = body
        self.mask = records - 1

    def words(self, at: int, lease: int, meta: int, first: int, second: int, third: int, fourth: int) -> None:
        """Write one record given as 64-bit words; `meta` is kind | flags << 8 | pool << 16 | site << 32."""
        if cython.compiled:
            self.put(at, lease, meta, first, second, third, fourth)
        else:
            self.following = (sequence := self.following) + 1  # one statement: nothing comes in between under a GIL
            _PACK(
                self.body, (sequence & self.mask) << 6, at, lease, meta, first, second, third, fourth, sequence
            )  # fmt: skip

    def put(self, at: int, lease: int, meta: int, first: int, second: int, third: int, fourth: int) -> None:
        """`words` for what is compiled itself."""
        sequence = self.following
        self.following = sequence + 1
        store(self.words_at, (sequence & self.mask) << 3, at, lease, meta, first, second, third, fourth, sequence)
