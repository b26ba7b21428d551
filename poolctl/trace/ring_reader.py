"""Ring reader: takes whole records and names out of the shared memory that a process writes (`trace.ring`).

In: the path of a ring, whose writer runs, hangs or was killed. Out: what it recorded since the last look, in order, of
whole records only, and how many were missed. Runs in poolctl; the writer never waits for it.
"""

from __future__ import annotations

import mmap
import time
from pathlib import Path

from poolctl.clock import monotonic_ns
from poolctl.errors import InputError
from poolctl.trace.compact import expand
from poolctl.trace.events import RECORD_BYTES
from poolctl.trace.ring import COUNTERS, COUNTERS_AT, HEADER, LENGTH, MAGIC, PROMISE_AT, VERSION

_PATIENCE = 10
"""Reads after which a record that was begun and not finished, with later ones behind it, is given up."""
_PAUSE_S = 0.005
"""Between the reads of a last look: a thread that was interrupted in the middle of a record gets its turn."""


class RingReader:
    """The reading end. Raises InputError when the file is not a ring of this version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the ring {path}: {error}", "the process that wrote it is gone") from None
        if self._memory[:8] != MAGIC or HEADER.unpack_from(self._memory)[1] != VERSION:
            raise InputError(f"{path} is not a ring of this version", "use one poolctl on both sides")
        _, _, self.pid, self._records, names_at, records_at, *anchor = HEADER.unpack_from(self._memory)
        self.anchor = (int(anchor[0]), int(anchor[1]))
        """(monotonic ns, wall ns) of one instant."""
        view = memoryview(self._memory)
        self._view = view
        self._body = view[records_at : records_at + self._records * RECORD_BYTES]
        self._sequences = self._body.cast("Q")[RECORD_BYTES // 8 - 1 :: RECORD_BYTES // 8]
        self._names = view[names_at:records_at]
        self._counters = view[COUNTERS_AT : COUNTERS_AT + 8 * len(COUNTERS)].cast("Q")
        self._promise = view[PROMISE_AT : PROMISE_AT + 16].cast("Q")
        self._promise[1] = monotonic_ns()
        self._names_read = 0
        self._expected = self._number = 1
        self._stuck = 0
        self.dropped = 0
        """Records that were overwritten before they were read, or never finished."""

    @property
    def counters(self) -> dict[str, int]:
        """What the writer counted about itself so far."""
        return dict(zip(COUNTERS, self._counters.tolist(), strict=True))

    def catch_up(self) -> None:
        """Begin with the oldest record that is still there: a reader who comes late has lost nothing."""
        self._step_over()
        self.dropped = 0
        self._number = self._expected

    def promise(self, until: int) -> None:
        """Tell the writer that somebody will read until then (monotonic ns): without that, a guest takes its leave."""
        self._promise[0] = until

    @property
    def promised(self) -> int:
        """Until when (monotonic ns) somebody promised to read; 0 when nobody did yet."""
        return int(self._promise[0])

    def read(self, *, final: bool = False) -> bytes:
        """Return what the whole records since the last call mean, as records of `trace.events`, numbered anew.

        `final`: no later call will find unfinished ones, so wait.
        """
        parts: list[bytes] = []
        while True:
            part = self._chunk()
            if part:
                parts.append(expand(part, self._number))
                self._number += len(parts[-1]) // RECORD_BYTES
                self._stuck = 0
            elif not self._step_over():
                if not (final and self._stuck):
                    return b"".join(parts)
                time.sleep(_PAUSE_S)

    def read_names(self) -> bytes:
        """Return the names since the last call, one JSON object a line."""
        lines: list[bytes] = []
        while self._names_read + 4 <= len(self._names):
            (length,) = LENGTH.unpack_from(self._names, self._names_read)
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

    def _step_over(self) -> bool:
        """Skip what can no longer be read; False when there is nothing more to read, or not yet."""
        mask = self._records - 1
        found = self._sequences[self._expected & mask]
        if found > self._expected:
            # Lapped: go an eighth of the ring ahead of the writer, not to be lapped again at once.
            newest = max(self._sequences.tolist())
            following = max(self._expected + 1, newest - self._records + 1 + self._records // 8)
        else:
            after = (self._expected + 1) & mask
            later = max(self._sequences[after : after + 64].tolist(), default=0)
            if self._sequences[self._expected & mask] >= self._expected:
                return True  # its writer came on between our looks: it is whole now, and no reason to skip it
            if later <= self._expected:
                self._stuck = 0
                return False
            self._stuck += 1  # later ones are there: its writer was interrupted, or died or failed between two stores
            if self._stuck < _PATIENCE:
                return False
            following = self._expected + 1
        self.dropped += following - self._expected
        self._number += following - self._expected  # a gap, by which analysis knows
        self._expected = following
        self._stuck = 0
        return True


def _matching(sequences: list[int], expected: int) -> int:
    """Return how many leading `sequences` are the expected ones, counting up by one."""
    if sequences == list(range(expected, expected + len(sequences))):
        return len(sequences)
    return next(n for n, sequence in enumerate(sequences) if sequence != expected + n)
