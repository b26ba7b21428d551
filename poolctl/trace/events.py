"""Event: what capture saw, as one fixed record of 64 bytes.

In: nothing. Out: the layout that the ring, the event files and the reader share. A lease is one REQUEST record,
any number of records in between, and the one record that ends it; all carry the lease's number.

Layout, little endian: header `sequence u64, at i64, lease u64, kind u8, flags u8, pool u16, site u32`, then 32 bytes
whose meaning depends on the kind (`PAYLOADS`). All instants and times are nanoseconds; instants are CLOCK_MONOTONIC.
`sequence` counts from 1 in each process and is written last: a record whose sequence is not the expected one is not
whole.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag

VERSION = 1
"""Version of the record layout; in every ring and event file."""

RECORD_BYTES = 64

UNKNOWN = -1
"""A duration that this source cannot tell. With an unknown `sql`, `statements` and `transactions` are unknown too."""
UNKNOWN_COUNT = 0xFFFF
"""`waiting` or `checked_out` that this source cannot tell."""

HEADER = struct.Struct("<QqQBBHI")
"""sequence, at, lease, kind, flags, pool, site."""


class Kind(IntEnum):
    """What happened. SQLAlchemy's names where it has one."""

    REQUEST = 1
    """The pool was asked. `at` is the request, `site` the asking frame."""
    CHECKOUT = 2
    """The caller got its connection: `at` is that instant."""
    REFUSED = 3
    """The request ended without a connection; the flags say how. Ends the lease."""
    STATEMENT = 4
    """The database worked for the holder: `at` is the end of it."""
    RESET = 5
    """The reset on return ended at `at` (inside the hold)."""
    CHECKIN = 6
    """The slot is free again: `at` is that instant. Ends the lease; the flags say how."""
    CONNECT = 7
    """A connection was opened (or failed, flag ERROR) for the request of this lease; `at` is the end of it."""
    CLOSE = 8
    """A connection was closed; `connection` says which."""
    DETACH = 9
    """The connection left the pool with its holder; the slot is free. Ends the lease."""
    INVALIDATE = 10
    """The connection was invalidated while held (or while idle: lease 0)."""
    TRACE = 11
    """The trace id in whose span the request was made."""
    OPERATION = 12
    """A load generator's operation ended: one work item of the tape. lease 0."""
    SAMPLE = 13
    """The generator looked at itself: one a second, lease 0."""
    FETCH = 14
    """Many rows were fetched for the holder, long enough to tell; `at` is the end of it. In the lease's `sql` too."""
    LAG = 15
    """An event loop ran at `at` what was due `lag` before; its thread was without a processor for `queued`. lease 0."""


class Flag(IntFlag):
    """How it happened. A flag means the same for every kind that bears it."""

    NONE = 0
    OVERFLOW = 1
    """CHECKOUT: the connection is beyond pool_size."""
    FRESH = 2
    """CHECKOUT: the connection was opened for this request."""
    TIMED_OUT = 4
    """REFUSED: pool_timeout passed. OPERATION: ended by it."""
    CANCELLED = 8
    """REFUSED, CHECKIN, OPERATION: the task was cancelled."""
    ERROR = 16
    """REFUSED, STATEMENT, CONNECT, OPERATION: an exception; its class is in the payload where there is room."""
    INVALIDATED = 32
    """CHECKIN: the connection was invalidated while held."""
    ABANDONED = 64
    """CHECKIN, DETACH: nobody returned it, the garbage collector did."""
    SKIPPED = 128
    """OPERATION: never started (too many in flight). STATEMENT: a commit or rollback, not a statement."""
    UNSEEN = 128
    """REQUEST: the request itself was not seen (a log does not tell, or it was made before capture began); `at` is the
    latest that it can have been made."""


PAYLOADS: dict[Kind, tuple[tuple[str, str], ...]] = {
    Kind.REQUEST: (
        ("intended_at", "q"),
        ("task", "Q"),
        ("context", "I"),
        ("item", "I"),
        ("waiting", "H"),
        ("checked_out", "H"),
        ("open", "I"),
    ),
    Kind.CHECKOUT: (("wait", "q"), ("connect", "q"), ("ping", "q"), ("connection", "I"), ("backend_pid", "I")),
    Kind.REFUSED: (
        ("wait", "q"),
        ("connect", "q"),
        ("ping", "q"),
        ("error", "I"),
        ("waiting", "H"),
        ("checked_out", "H"),
    ),
    Kind.STATEMENT: (("started_at", "q"), ("statement", "I"), ("error", "I"), ("spare2", "q"), ("spare3", "q")),
    Kind.RESET: (("started_at", "q"), ("spare", "q"), ("spare2", "q"), ("spare3", "q")),
    Kind.CHECKIN: (("sql", "q"), ("reset", "q"), ("checkin", "q"), ("statements", "I"), ("transactions", "I")),
    Kind.CONNECT: (
        ("connect", "q"),
        ("spare", "q"),
        ("connection", "I"),
        ("backend_pid", "I"),
        ("error", "I"),
        ("open", "I"),
    ),
    Kind.CLOSE: (("close", "q"), ("spare", "q"), ("connection", "I"), ("open", "I"), ("spare2", "q")),
    Kind.DETACH: (
        ("sql", "q"),
        ("spare", "q"),
        ("connection", "I"),
        ("statements", "I"),
        ("transactions", "I"),
        ("spare2", "I"),
    ),
    Kind.INVALIDATE: (("spare", "q"), ("spare2", "q"), ("connection", "I"), ("error", "I"), ("spare3", "q")),
    Kind.TRACE: (("trace_high", "Q"), ("trace_low", "Q"), ("span", "Q"), ("spare", "q")),
    Kind.OPERATION: (
        ("intended_at", "q"),
        ("started_at", "q"),
        ("context", "I"),
        ("item", "I"),
        ("client", "I"),
        ("error", "I"),
    ),
    Kind.SAMPLE: (("cpu", "q"), ("wall", "q"), ("in_flight", "I"), ("due", "I"), ("threads_cpu", "q")),
    Kind.FETCH: (("started_at", "q"), ("spare", "q"), ("spare2", "q"), ("spare3", "q")),
    Kind.LAG: (("lag", "q"), ("queued", "q"), ("spare2", "q"), ("spare3", "q")),
}
"""Field names and struct codes of the 32 payload bytes, by kind. Numbers named `context`, `error`, `statement`, `site`,
`pool` refer to the names file of the same process; 0 is "none". `wait`, `connect`, `ping`, `sql`, `reset`, `checkin`,
`close`, `cpu`, `wall` are durations."""

LAYOUTS: dict[Kind, struct.Struct] = {
    kind: struct.Struct("<QqQBBHI" + "".join(code for _, code in fields)) for kind, fields in PAYLOADS.items()
}
"""The whole record, by kind: pack or unpack sequence, at, lease, kind, flags, pool, site and the payload in order."""
