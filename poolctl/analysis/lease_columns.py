"""Lease columns: the records of one process become its leases, as numpy arrays.

In: `records.Columns` and the translation of the process's name numbers to common ones. Out: one entry a lease in
every column, times in seconds, instants in seconds after `origin`. Every record of a lease goes to one row, and every
row has one end. What the records cannot tell is NaN or -1. Knows nothing of pandas or files.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from poolctl.analysis.columns import ENDS, NEVER, durations, instants, looked_up
from poolctl.analysis.records import Array, Columns
from poolctl.trace.events import UNKNOWN_COUNT, Flag, Kind


class _Places:
    """Where each lease's row is."""

    def __init__(self, ids: Array) -> None:
        self.ids = ids

    def of(self, leases: Array) -> Array:
        """Return the rows of these lease numbers, all of which are known."""
        if len(self.ids) and int(self.ids[-1]) - int(self.ids[0]) + 1 == len(self.ids):
            rows: Array = (leases - self.ids[0]).astype(np.int64)
        else:
            rows = np.searchsorted(self.ids, leases)
        return rows


def _put(size: int, rows: Array, values: Array, dtype: Any, nothing: Any) -> Array:
    """Spread values over rows; where a row has several, its first one stays."""
    out = np.full(size, nothing, dtype)
    out[rows[::-1]] = values[::-1]
    return out


def _span(size: int, rows: Array, nanoseconds: Array) -> Array:
    return _put(size, rows, durations(nanoseconds), np.float64, np.nan)


def _counts(size: int, rows: Array, numbers: Array) -> Array:
    """Spread counts over rows; -1 for one that the source could not tell, and where there was no record."""
    known = np.where(numbers == UNKNOWN_COUNT, -1, numbers.astype(np.int32))
    return _put(size, rows, known, np.int32, -1)


def leases_of(columns: Columns, look: dict[str, Array], origin: int) -> dict[str, Array]:
    """Return the columns of this process's leases, in the order of their numbers (the order of the requests)."""
    tables = {kind: _of_leases(columns.tables[kind]) for kind in _LEASE_KINDS}
    ids = np.unique(np.concatenate([tables[kind]["lease"] for kind in _LEASE_KINDS]))
    size, places = len(ids), _Places(ids)
    rows = {kind: places.of(table["lease"]) for kind, table in tables.items()}
    out = _requested(size, rows[Kind.REQUEST], tables[Kind.REQUEST], look, origin)
    checkout, at = tables[Kind.CHECKOUT], rows[Kind.CHECKOUT]
    acquired = _put(size, at, checkout["at"], np.int64, NEVER)
    out["acquired_at_s"] = instants(acquired, origin)
    out["overflow"] = _put(size, at, checkout["flags"] & int(Flag.OVERFLOW) != 0, np.bool_, False)
    out["fresh"] = _put(size, at, checkout["flags"] & int(Flag.FRESH) != 0, np.bool_, False)
    out["connection"] = _put(size, at, checkout["connection"], np.uint32, 0)
    out["backend_pid"] = _put(size, at, checkout["backend_pid"], np.uint32, 0)
    _ended(out, size, rows, tables, look, origin)
    for name in ("wait", "connect", "ping"):
        taken = _span(size, at, checkout[name])
        refused = _span(size, rows[Kind.REFUSED], tables[Kind.REFUSED][name])
        out[f"{name}_time_s"] = np.where(np.isnan(taken), refused, taken)
    _without_request(out)
    through = np.where(np.isnan(out["acquired_at_s"]), out["ended_at_s"], out["acquired_at_s"])
    out["acquire_time_s"] = np.maximum(through - out["requested_at_s"], 0.0)
    unseen = tables[Kind.REQUEST]["flags"] & int(Flag.UNSEEN) != 0
    # What was seen may be told once more, to a reader who comes late: it stays seen.
    _of_a_log(out, np.setdiff1d(rows[Kind.REQUEST][unseen], rows[Kind.REQUEST][~unseen]))
    out["hold_time_s"] = np.maximum(out["ended_at_s"] - out["acquired_at_s"], 0.0)
    _add_sql_of_open(out, columns, places)
    out["idle_in_hold_s"] = np.maximum(out["hold_time_s"] - out["sql_time_s"], 0.0)
    pool, site = np.zeros(size, np.uint16), np.zeros(size, np.uint32)
    for kind in reversed(_LEASE_KINDS):  # each says where: a lease whose request was lost has its site all the same
        pool[rows[kind]] = tables[kind]["pool"]
        site[rows[kind]] = tables[kind]["site"]
    out["pool"], out["site"] = pool, looked_up(look["site"], site)
    _lost_ends(out)
    _trace_ids(out, columns, places)
    out["lease"] = ids.astype(np.int64)
    before = (out["ended_at_s"] < 0) if columns.count else np.zeros(size, np.bool_)
    return {name: values[~before] for name, values in out.items()} if before.any() else out


_LEASE_KINDS = (Kind.REQUEST, Kind.CHECKOUT, Kind.REFUSED, Kind.CHECKIN, Kind.DETACH)


def _of_leases(table: dict[str, Array]) -> dict[str, Array]:
    """Drop records of number 0: they belong to no lease (a connection held since before capture began)."""
    ours = table["lease"] != 0
    return table if ours.all() else {name: values[ours] for name, values in table.items()}


def _requested(
    size: int, rows: Array, request: dict[str, Array], look: dict[str, Array], origin: int
) -> dict[str, Array]:
    asked = _put(size, rows, request["at"], np.int64, NEVER)
    intended = _put(size, rows, request["intended_at"], np.int64, 0)
    return {
        "context": looked_up(look["context"], _put(size, rows, request["context"], np.uint32, 0)),
        "task": _put(size, rows, request["task"], np.uint64, 0),
        "item": _put(size, rows, request["item"], np.uint32, 0),
        "intended_at_s": instants(np.where(intended == 0, NEVER, intended), origin),
        "requested_at_s": instants(asked, origin),
        "waiting_at_request": _counts(size, rows, request["waiting"]),
        "checked_out_at_request": _counts(size, rows, request["checked_out"]),
    }


def _ended(
    out: dict[str, Array],
    size: int,
    rows: dict[Kind, Array],
    tables: dict[Kind, dict[str, Array]],
    look: dict[str, Array],
    origin: int,
) -> None:
    """Give each lease its one end: the earliest record that ends it."""
    ended = np.full(size, NEVER, np.int64)
    end = np.full(size, ENDS.index("open"), np.int8)
    for kind in (Kind.REFUSED, Kind.CHECKIN, Kind.DETACH):
        at = _put(size, rows[kind], tables[kind]["at"], np.int64, NEVER)
        how = _put(size, rows[kind], _end_codes(kind, tables[kind]["flags"]), np.int8, ENDS.index("open"))
        earlier = at < ended
        ended[earlier], end[earlier] = at[earlier], how[earlier]
    checkin, detach = (tables[Kind.CHECKIN], rows[Kind.CHECKIN]), (tables[Kind.DETACH], rows[Kind.DETACH])
    returned, left = (_span(size, at, table["sql"]) for table, at in (checkin, detach))
    out["sql_time_s"] = np.where(np.isnan(returned), left, returned)
    for name in ("statements", "transactions"):
        returned, left = (_put(size, at, _told(table, name), np.int64, 0) for table, at in (checkin, detach))
        out[name] = np.where(returned != 0, returned, left)
    out["reset_time_s"] = _span(size, checkin[1], checkin[0]["reset"])
    out["checkin_time_s"] = _span(size, checkin[1], checkin[0]["checkin"])
    out["ended_at_s"] = instants(ended, origin)
    out["end"] = end
    out["error"] = looked_up(look["error"], _put(size, rows[Kind.REFUSED], tables[Kind.REFUSED]["error"], np.uint32, 0))


def _told(table: dict[str, Array], name: str) -> Array:
    """Return a count of statements or transactions; -1 where the source saw no SQL at all."""
    return np.where(table["sql"] < 0, -1, table[name].astype(np.int64))


def _end_codes(kind: Kind, flags: Array) -> Array:
    """How the record ends its lease; the first flag of the list that is set says it."""
    said = {
        Kind.REFUSED: ((Flag.TIMED_OUT, "timed_out"), (Flag.CANCELLED, "cancelled")),
        Kind.CHECKIN: ((Flag.ABANDONED, "abandoned"), (Flag.CANCELLED, "cancelled"), (Flag.INVALIDATED, "invalidated")),
        Kind.DETACH: ((Flag.ABANDONED, "abandoned"),),
    }
    otherwise = {Kind.REFUSED: "failed", Kind.CHECKIN: "returned", Kind.DETACH: "detached"}
    codes = np.full(len(flags), ENDS.index(otherwise[kind]), np.int8)
    for flag, end in reversed(said[kind]):
        codes[flags & int(flag) != 0] = ENDS.index(end)
    return codes


def _without_request(out: dict[str, Array]) -> None:
    """Capture began after the request (or lost it): the parts of the acquire path say when it was."""
    known = np.where(np.isnan(out["acquired_at_s"]), out["ended_at_s"], out["acquired_at_s"])
    parts = out["wait_time_s"] + out["connect_time_s"] + out["ping_time_s"]
    missing = np.isnan(out["requested_at_s"])
    out["requested_at_s"] = np.where(missing, known - parts, out["requested_at_s"])


def _of_a_log(out: dict[str, Array], unseen: Array) -> None:
    """Requests that nobody saw being made: how long they took is unknown, and no SQL was seen either."""
    out["acquire_time_s"][unseen] = np.nan
    silent = unseen[np.isnan(out["sql_time_s"][unseen])]
    out["statements"][silent] = out["transactions"][silent] = -1


def _add_sql_of_open(out: dict[str, Array], columns: Columns, places: _Places) -> None:
    """A lease without its end has no sum of its statements yet: add them up."""
    unknown = np.isnan(out["sql_time_s"]) & ~np.isnan(out["acquired_at_s"])
    statement = columns.tables[Kind.STATEMENT]
    if not unknown.any() or not len(statement["at"]):
        return
    ours = np.isin(statement["lease"], places.ids[unknown])
    rows = places.of(statement["lease"][ours])
    spent = np.bincount(rows, (statement["at"] - statement["started_at"])[ours] / 1e9, minlength=len(unknown))
    told = statement["flags"][ours] & int(Flag.SKIPPED) == 0
    out["sql_time_s"] = np.where(unknown, spent, out["sql_time_s"])
    out["statements"] = np.where(unknown, np.bincount(rows[told], minlength=len(unknown)), out["statements"]).astype(
        np.int64
    )


def _lost_ends(out: dict[str, Array]) -> None:
    """A connection that is checked out again was given back: only the record of it was lost. When, nobody knows."""
    candidates = np.flatnonzero((out["end"] == ENDS.index("open")) & (out["connection"] != 0))
    if not len(candidates):
        return
    key = (out["pool"].astype(np.uint64) << np.uint64(32)) | out["connection"].astype(np.uint64)
    held = np.flatnonzero(np.isin(key, key[candidates]) & ~np.isnan(out["acquired_at_s"]))
    order = held[np.lexsort((out["acquired_at_s"][held], key[held]))]
    again = order[:-1][key[order[:-1]] == key[order[1:]]]
    out["end"][np.intersect1d(again, candidates)] = ENDS.index("returned")


def _trace_ids(out: dict[str, Array], columns: Columns, places: _Places) -> None:
    trace = columns.tables[Kind.TRACE]
    ids = np.full(len(places.ids), None, object)
    ours = np.isin(trace["lease"], places.ids)
    if ours.any():
        pairs = zip(trace["trace_high"][ours].tolist(), trace["trace_low"][ours].tolist(), strict=True)
        ids[places.of(trace["lease"][ours])] = [f"{high:016x}{low:016x}" for high, low in pairs]
    out["trace_id"] = ids
