"""ELF: where a symbol of a program or a shared library lies. Reads the file, never the process.

In: an ELF file of 64 bits, little endian. Out: its machine, and the values of its dynamic symbols, which are offsets to
be added to where the file is loaded (`load_bias`). Knows nothing of processes.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from poolctl.errors import InputError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNSYM, _LOAD, _FIXED = 11, 1, 2


class Elf:
    """An ELF file. Raises InputError when it is none, or one of 32 bits; OSError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            size = file.seek(0, 2)
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size >= _HEADER.size else b""
        if self._data[:6] != b"\x7fELF\x02\x01":
            raise InputError(f"{path} is not a 64-bit program", "attach to a 64-bit Python")
        (_, kind, self.machine, _, _, self._segments_at, self._sections_at, *_rest) = _HEADER.unpack_from(self._data)
        _, _, _, self._segments, _, self._sections, _ = _rest
        self._fixed = kind == _FIXED

    def load_bias(self, mapped_at: int) -> int:
        """Return what to add to a symbol's value when the file's first byte is mapped at that address."""
        if self._fixed:
            return 0
        for number in range(self._segments):
            kind, _, offset, address, *_ = _SEGMENT.unpack_from(self._data, self._segments_at + number * _SEGMENT.size)
            if kind == _LOAD:
                return mapped_at - int(address - offset)
        return mapped_at

    def holds(self, text: bytes) -> bool:
        """Return whether these bytes are anywhere in the file."""
        return self._data.find(text) >= 0

    def symbols(self, wanted: frozenset[str]) -> dict[str, int]:
        """Return the values of those dynamic symbols that the file defines."""
        found: dict[str, int] = {}
        sections = [
            _SECTION.unpack_from(self._data, self._sections_at + number * _SECTION.size)
            for number in range(self._sections)
        ]
        for _, kind, _, _, offset, size, link, *_ in sections:
            if kind != _DYNSYM:
                continue
            names_at, names_size = sections[link][4:6]
            names = bytes(self._data[names_at : names_at + names_size])
            for name_at, _, _, section, value, _ in _SYMBOL.iter_unpack(bytes(self._data[offset : offset + size])):
                if section:
                    name = names[name_at : names.index(b"\0", name_at)].decode("ascii", "replace")
                    if name in wanted:
                        found[name] = value
        return found
