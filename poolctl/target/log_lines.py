"""Log lines: the bytes of a log, line by line, whatever it is packed in.

In: a path or a binary stream. Out: lists of lines (bytes, without their ends), a chunk at a time, so that a log of any
size takes the same memory. Knows nothing of what is in a line.
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

CHUNK = 1 << 20
"""Bytes read at a time."""
LONGEST = 1 << 20
"""A line is cut here: a log line that is longer is no log line."""


def read_chunks(source: Path | BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines of a log in lists of some thousand; gzip is unpacked, a last line without an end is fine.

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


def _of_stream(stream: BinaryIO) -> Iterator[list[bytes]]:
    buffered = stream if hasattr(stream, "peek") else io.BufferedReader(cast(io.RawIOBase, stream))
    if buffered.peek(2)[:2] == b"\x1f\x8b":  # type: ignore[union-attr, unused-ignore]
        buffered = cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    yield from _split(cast(io.BufferedReader, buffered))


def _split(file: io.BufferedReader) -> Iterator[list[bytes]]:
    tail = b""
    while True:
        try:
            chunk = file.read1(CHUNK)
        except (EOFError, zlib.error):  # cut off, or broken from here on
            chunk = b""
        if not chunk:
            break
        lines = (tail + chunk).split(b"\n")
        tail = lines.pop()[:LONGEST]
        if lines:
            yield lines
    if tail:
        yield [tail]
