"""Columns: what one process's records say besides its leases, as numpy arrays.

In: `records.Columns` and the translation of the process's name numbers to common ones. Out: columns of operations,
statements, connections and samples, times in seconds, instants in seconds after `origin`. What the records cannot
tell is NaN or -1. Knows nothing of pandas or files; the leases are in `lease_columns`.
"""

from __future__ import annotations

import numpy as np

from poolctl.analysis.records import Array, Columns
from poolctl.trace.events import Flag, Kind

ENDS = ("returned", "timed_out", "cancelled", "failed", "invalidated", "detached", "abandoned", "open")
"""The ends a lease can meet. A request still waiting when the record stopped is open too, with no `acquired_at_s`."""
OUTCOMES = ("done", "timed_out", "cancelled", "failed", "skipped")
"""What became of a load generator's operation."""
EVENTS = ("opened", "failed", "closed")
"""What happened to a connection."""

NEVER = np.iinfo(np.int64).max


def clients_of(leases: dict[str, Array], operations: dict[str, Array]) -> Array:
    """Return the client of each lease that belongs to a work item; -1 for none.

    Items are numbered within a client's loop, so the intended instant and the name decide as well.
    """
    clients = np.full(len(leases["item"]), -1, np.int64)
    if len(operations["item"]):
        keys = _item_keys(operations["intended_at_s"], operations["item"], operations["transaction"])
        order = np.argsort(keys, kind="stable")
        wanted = _item_keys(leases["intended_at_s"], leases["item"], leases["context"])
        at = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
        match = (keys[order][at] == wanted) & ~np.isnan(leases["intended_at_s"])
        clients[match] = operations["client"][order][at][match]
    return clients


def _item_keys(intended_at_s: Array, item: Array, context: Array) -> Array:
    """One number for the three; both sides make the same float of the same instant."""
    mixed = item.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + context.astype(np.uint64) * np.uint64(
        0xC2B2AE3D27D4EB4F
    )
    keys: Array = intended_at_s.view(np.uint64) ^ mixed
    return keys


def operations_of(columns: Columns, look: dict[str, Array], origin: int) -> dict[str, Array]:
    """Return the columns of the load generator's work items; the times of a skipped one are NaN."""
    table = columns.tables[Kind.OPERATION]
    flags = table["flags"]
    outcome = np.zeros(len(flags), np.int8)
    for flag, name in (
        (Flag.ERROR, "failed"),
        (Flag.CANCELLED, "cancelled"),
        (Flag.TIMED_OUT, "timed_out"),
        (Flag.SKIPPED, "skipped"),
    ):
        outcome[flags & int(flag) != 0] = OUTCOMES.index(name)
    ran = outcome != OUTCOMES.index("skipped")
    intended, started, ended = (instants(table[name], origin) for name in ("intended_at", "started_at", "at"))
    return {
        "item": table["item"],
        "transaction": looked_up(look["context"], table["context"]),
        "client": table["client"],
        "intended_at_s": intended,
        "started_at_s": np.where(ran, started, np.nan),
        "ended_at_s": np.where(ran, ended, np.nan),
        "start_lag_s": np.where(ran, started - intended, np.nan),
        "response_time_s": np.where(ran, ended - intended, np.nan),
        "outcome": outcome,
        "error": looked_up(look["error"], table["error"]),
    }


def statements_of(columns: Columns, origin: int) -> dict[str, Array]:
    """Return the columns of the statements."""
    table = columns.tables[Kind.STATEMENT]
    return {
        "lease": table["lease"].astype(np.int64),
        "started_at_s": instants(table["started_at"], origin),
        "sql_time_s": (table["at"] - table["started_at"]) / 1e9,
        "control": table["flags"] & int(Flag.SKIPPED) != 0,
    }


def connections_of(columns: Columns, origin: int) -> dict[str, Array]:
    """Return the columns of connections opened, failed and closed."""
    opened, closed = columns.tables[Kind.CONNECT], columns.tables[Kind.CLOSE]
    failed = opened["flags"] & int(Flag.ERROR) != 0
    event = np.concatenate(
        [np.where(failed, EVENTS.index("failed"), 0), np.full(len(closed["at"]), EVENTS.index("closed"))]
    ).astype(np.int8)
    both = {name: np.concatenate([opened[name], closed[name]]) for name in ("at", "lease", "pool", "connection")}
    return {
        "pool": both["pool"],
        "lease": both["lease"].astype(np.int64),
        "connection": both["connection"],
        "at_s": instants(both["at"], origin),
        "event": event,
        "time_s": durations(np.concatenate([opened["connect"], closed["close"]])),
        "backend_pid": np.concatenate([opened["backend_pid"], np.zeros(len(closed["at"]), np.uint32)]),
    }


def samples_of(columns: Columns, origin: int) -> dict[str, Array]:
    """Return the columns of the generator's samples of itself."""
    table = columns.tables[Kind.SAMPLE]
    return {
        "at_s": instants(table["at"], origin),
        "cpu_s": table["cpu"] / 1e9,
        "wall_s": table["wall"] / 1e9,
        "in_flight": table["in_flight"],
        "due": table["due"],
    }


def lags_of(columns: Columns, origin: int) -> dict[str, Array]:
    """Return the columns of delays of event loops."""
    table = columns.tables[Kind.LAG]
    return {"at_s": instants(table["at"], origin), "lag_s": table["lag"] / 1e9, "queued_s": table["queued"] / 1e9}


def durations(nanoseconds: Array) -> Array:
    """Return seconds; a duration that the source could not tell (`events.UNKNOWN`) is NaN."""
    seconds = nanoseconds / 1e9
    seconds[nanoseconds < 0] = np.nan
    return seconds


def last_instant(columns: Columns, origin: int) -> float:
    """Return the seconds from `origin` to the last record."""
    ends = [table["at"].max() for table in columns.tables.values() if len(table.get("at", ()))]
    return (int(max(ends, default=origin)) - origin) / 1e9


def instants(at: Array, origin: int) -> Array:
    """Return seconds since `origin`; NEVER is NaN."""
    seconds = (at - origin) / 1e9
    seconds[at == NEVER] = np.nan
    return seconds


def looked_up(table: Array, numbers: Array) -> Array:
    """Translate a process's name numbers to the common ones; -1 for none."""
    return table[np.minimum(numbers, len(table) - 1)]
