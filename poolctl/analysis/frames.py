"""Frames: the columns of all processes as pandas frames, with their public names and types.

In: columns by process (`analysis.columns`) and the common names. Out: frames whose texts are categories, so that a
million leases stay small. Knows nothing of records or files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from poolctl.analysis.columns import ENDS, EVENTS, OUTCOMES
from poolctl.analysis.records import Array

Parts = list[dict[str, Array]]

LEASES = [
    "process",
    "pool",
    "lease",
    "site",
    "file",
    "line",
    "function",
    "context",
    "trace_id",
    "task",
    "client",
    "item",
    "intended_at_s",
    "requested_at_s",
    "acquired_at_s",
    "ended_at_s",
    "acquire_time_s",
    "wait_time_s",
    "connect_time_s",
    "ping_time_s",
    "hold_time_s",
    "sql_time_s",
    "idle_in_hold_s",
    "reset_time_s",
    "checkin_time_s",
    "statements",
    "transactions",
    "waiting_at_request",
    "checked_out_at_request",
    "overflow",
    "fresh",
    "connection",
    "backend_pid",
    "end",
    "error",
]
"""The columns of the lease table, in order: a public contract (DESIGN.md section 4)."""
OPERATIONS = [
    "process",
    "item",
    "transaction",
    "client",
    "intended_at_s",
    "started_at_s",
    "ended_at_s",
    "start_lag_s",
    "response_time_s",
    "outcome",
    "error",
]
CONNECTIONS = ["process", "pool", "lease", "connection", "at_s", "event", "time_s", "backend_pid"]
STATEMENTS = ["process", "lease", "started_at_s", "sql_time_s", "control"]
LAGS = ["process", "at_s", "lag_s", "queued_s"]
SAMPLES = ["process", "at_s", "cpu_s", "wall_s", "in_flight", "due"]


def leases(
    parts: Parts, entries: list[dict[str, Any]], sites: list[str], contexts: list[str], errors: list[str]
) -> pd.DataFrame:
    """Return the lease table; `entries` are the names file's entries of `sites`."""
    made: dict[str, Any] = _merge(parts, [name for name in LEASES if name not in ("file", "line", "function")])
    codes = made["site"].astype(np.int32)
    for name in ("file", "function"):
        made[name] = _shared(codes, [str(entry.get(name, "?")) for entry in entries])
    made["line"] = np.array([*(int(entry.get("line", 0)) for entry in entries), 0], np.int32)[codes]
    made["site"] = _categorical(codes, sites)
    made["context"] = _categorical(made["context"], contexts)
    made["error"] = _categorical(made["error"], errors)
    made["end"] = _categorical(made["end"], ENDS)
    made["trace_id"] = pd.array(made["trace_id"], dtype="str")
    return pd.DataFrame({name: made.pop(name) for name in LEASES}, copy=False)


def with_all_ends(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the lease table with every end as a category: a file keeps only those that occur."""
    return frame.assign(end=frame["end"].cat.set_categories(list(ENDS)))


def operations(parts: Parts, contexts: list[str], errors: list[str]) -> pd.DataFrame:
    """Return the table of work items."""
    made: dict[str, Any] = _merge(parts, OPERATIONS)
    made["transaction"] = _categorical(made["transaction"], contexts)
    made["outcome"] = _categorical(made["outcome"], OUTCOMES)
    made["error"] = _categorical(made["error"], errors)
    return pd.DataFrame(made, copy=False)


def connections(parts: Parts) -> pd.DataFrame:
    """Return the table of connections opened, failed and closed, in the order of time."""
    made: dict[str, Any] = _merge(parts, CONNECTIONS)
    made["event"] = _categorical(made["event"], EVENTS)
    return pd.DataFrame(made, copy=False).sort_values("at_s", kind="stable", ignore_index=True)


def statements(parts: Parts) -> pd.DataFrame:
    """Return the table of statements."""
    return pd.DataFrame(_merge(parts, STATEMENTS), copy=False)


def lags(parts: Parts) -> pd.DataFrame:
    """Return the table of delays of event loops."""
    return pd.DataFrame(_merge(parts, LAGS), copy=False)


def samples(parts: Parts) -> pd.DataFrame:
    """Return the generator's samples of itself."""
    return pd.DataFrame(_merge(parts, SAMPLES), copy=False)


def _merge(parts: Parts, names: Iterable[str]) -> dict[str, Any]:
    """Join the processes' columns, releasing each as it is joined."""
    merged = {}
    for name in names:
        arrays = [part.pop(name) for part in parts]
        merged[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays) if arrays else np.empty(0)
    return merged


def _categorical(codes: Array, categories: Iterable[str]) -> pd.Categorical:
    return pd.Categorical.from_codes(codes.astype(np.int32), categories=pd.Index(list(categories), dtype="str"))


def _shared(codes: Array, texts: list[str]) -> pd.Categorical:
    """Several sites may share a text (a file): number the distinct ones and translate."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    table = np.array([*(numbers[text] for text in texts), -1], np.int32)
    return _categorical(table[codes], numbers)
