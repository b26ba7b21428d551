"""Cache: the tables of a run as Parquet files beside its records.

In and out: frames, and the facts that are not rows, kept in the metadata of `leases.parquet` with a mark of the files
they were made from. A mark that does not match, a file that is torn or missing, a disk that is full: all mean
only that the tables are built again. Knows nothing of what the columns mean.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

LAYOUT = 6
"""Version of the tables; another one in a file means: build again."""
FRAMES = ("operations", "connections", "lags", "samples", "statements", "leases")
"""One file each. The leases last: their metadata vouch for the others."""
_KEY = b"poolctl"


@dataclass
class Kept:
    """What is kept of a run."""

    frames: dict[str, pd.DataFrame]
    facts: dict[str, Any]
    """Plain JSON data."""


def load(directory: Path, mark: dict[str, Any] | None) -> Kept | None:
    """Return what was kept, without the statements, or None when it is not there or does not fit `mark`.

    A `mark` of None (the records themselves are gone) fits any.
    """
    try:
        stored = json.loads((pq.read_schema(directory / "leases.parquet").metadata or {})[_KEY])
        if stored["layout"] != LAYOUT or (mark is not None and stored["mark"] != mark):
            return None
        return Kept({name: frame(directory, name) for name in FRAMES if name != "statements"}, stored["facts"])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None


def frame(directory: Path, name: str) -> pd.DataFrame:
    """Read one table."""
    table = pq.read_table(directory / f"{name}.parquet")
    made: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    return made


def store(directory: Path, mark: dict[str, Any], kept: Kept) -> bool:
    """Keep the tables; return whether they are all there. Each file is replaced in one step."""
    facts = json.dumps({"layout": LAYOUT, "mark": mark, "facts": kept.facts}).encode()
    try:
        for name in FRAMES:
            table = pa.Table.from_pandas(kept.frames[name], preserve_index=False)
            if name == "leases":
                table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: facts})
            _write(table, directory / f"{name}.parquet")
    except (OSError, pa.ArrowException):
        return False
    return True


def _write(table: Any, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(table, temporary, compression="zstd")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
