"""Log lines: the bytes of a log, whatever it is packed in, and those of its lines that are worth a look.

In: a path or a binary stream. Out: blocks of whole lines, so that a log of any size takes the same memory, and the
lines of a block that hold a clue. Knows nothing of what is in a line.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from poolctl.errors import InputError

BLOCK = 1 << 20
"""Bytes read at a time. A line that is longer is cut: it is no log line."""


def read_blocks(source: Path | BinaryIO) -> Iterator[bytes]:
    """Yield a log in blocks that end with a line's end; gzip is unpacked, a last line without an end is fine.

    Path("-") is the standard input. A gzip file that was cut off gives what can be unpacked. Raises InputError.
    """
    name = str(source) if isinstance(source, Path) else "the log"
    try:
        if not isinstance(source, Path):
            yield from _of_stream(source)
        elif str(source) == "-":
            yield from _of_stream(sys.stdin.buffer)
        else:
            with source.open("rb") as file:
                yield from _of_stream(file)
    except OSError as error:
        raise InputError(
            f"cannot read {name}: {error.strerror or error}", "give the path of a log file, or - for the standard input"
        ) from None


def _of_stream(stream: BinaryIO) -> Iterator[bytes]:
    file = cast(io.BufferedReader, stream if hasattr(stream, "peek") else io.BufferedReader(cast(io.RawIOBase, stream)))
    if file.peek(2)[:2] == b"\x1f\x8b":
        file = cast(io.BufferedReader, gzip.GzipFile(fileobj=file))
    tail = b""
    while True:
        try:
            read = file.read1(BLOCK)
        except (EOFError, zlib.error):  # cut off, or broken from here on
            read = b""
        if not read:
            break
        end = read.rfind(b"\n") + 1
        if end:
            yield tail + read[:end]
            tail = read[end:]
        elif len(tail) < BLOCK:
            tail += read
    if tail:
        yield tail + b"\n"


def lines_with(block: bytes, clues: tuple[bytes, ...]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that hold one of these clues, in their order: where each begins in the block, and its bytes.

    The other lines are never made: a log is mostly something else.
    """
    found = {clue: block.find(clue) for clue in clues}
    found = {clue: at for clue, at in found.items() if at >= 0}
    start = 0
    while found:
        at = min(found.values())
        start = block.rfind(b"\n", start, at) + 1 or start
        end = block.find(b"\n", at)
        yield start, block[start:end]
        start = end + 1
        for clue, place in tuple(found.items()):
            if place < start:
                found[clue] = block.find(clue, start)
                if found[clue] < 0:
                    del found[clue]
