"""Log messages: what `sqlalchemy.pool` says, and of which connection; what psycopg_pool says of its pool.

In: the text of a line. Out: `Message`: what happened, the connection's key, where in the line it stood. Never the repr:
psycopg's and psycopg2's hold host, user and database. The strings are those of SQLAlchemy 2.0.58 and 2.1.9 (FIELD.md
section 6), and of psycopg_pool 3.3.3.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple


class What(IntEnum):
    """What a line says."""

    CREATED = 1
    CONNECT_FAILED = 2
    CHECKED_OUT = 3
    RETURNING = 4
    """Before the reset."""
    FRESH = 5
    PING = 6
    PING_FAILED = 7
    RESET = 8
    CLOSING = 9
    HARD_CLOSING = 10
    INVALIDATE = 11
    SOFT_INVALIDATE = 12
    RECYCLE = 13
    """Too old, or invalidated while idle: it is opened anew for the request that got it."""
    DISCONNECTED = 14
    """Found dead on checkout: the pool is invalidated. Names no connection."""
    DISCONNECTED_ONE = 15
    EXHAUSTED = 16
    """Found dead on checkout once too often. Names no connection."""
    DISPOSED = 17
    COLLECTED = 18
    """The garbage collector found an async connection that nobody returned."""
    LIMIT = 19
    """An application logged the pool's TimeoutError."""
    REQUESTED = 30
    """psycopg_pool was asked, …"""
    GIVEN = 31
    """… gave a connection, …"""
    GIVEN_BACK = 32
    """… got one back, …"""
    TIMEOUT = 33
    """… or had none in time, and the application logged it."""
    OTHER = 20
    """A message of the pool's that tells nothing about a lease."""
    NAMELESS = 21
    """A message about a connection that it does not name in a way that can be followed."""


Key = int | str
"""The connection's address; the name of its thread where its repr has no address (aiosqlite before 0.22)."""


class Message(NamedTuple):
    """What one line says."""

    what: What
    key: Key
    """0: it names no connection."""
    start: int
    """Where the message begins in the text."""
    end: int
    """Where what is known of it ends."""
    detail: tuple[str, ...] = ()
    """INVALIDATE: the exception's class. DISPOSED: pool_size. LIMIT: pool class, pool_size, overflow, pool_timeout.
    psycopg_pool: the pool's name; TIMEOUT: its seconds."""


_AFTER = {
    "checked out from pool": What.CHECKED_OUT,
    "being returned to pool": What.RETURNING,
    "is fresh, skipping pre-ping": What.FRESH,
    "failed, will invalidate pool": What.PING_FAILED,
    "reset, transaction already reset": What.RESET,
    "rollback-on-return": What.RESET,
    "commit-on-return": What.RESET,
    "exceeded timeout; recycling": What.RECYCLE,
    "invalidated due to pool invalidation; recycling": What.RECYCLE,
    "invalidated due to local soft invalidation; recycling": What.RECYCLE,
}
_BEFORE = {
    "Created new": What.CREATED,
    "Closing": What.CLOSING,
    "Hard-closing": What.HARD_CLOSING,
    "Soft Invalidate": What.SOFT_INVALIDATE,
    "Invalidate": What.INVALIDATE,
    "Pool pre-ping on": What.PING,
    "invalidating individual": What.DISCONNECTED_ONE,
    "to clean up non-checked-in": What.COLLECTED,
    "Exception closing": What.OTHER,
    "Exception terminating": What.OTHER,
    "Cancellation during terminate of": What.OTHER,
}
_PLAIN = {
    "Disconnection detected on checkout, invalidating all pooled connections": What.DISCONNECTED,
    "Reconnection attempts exhausted on checkout": What.EXHAUSTED,
    "Error on connect():": What.CONNECT_FAILED,
    "Pool recreating": What.OTHER,
    "Pool disposed.": What.DISPOSED,
}

# The usual line, at one go: the address is followed by nothing but the end of the repr and the verb.
_VERBS = "|".join(re.escape(verb) for verb in _AFTER)
_USUAL = re.compile(rf" at 0x([0-9a-fA-F]+)[^>]*>+ ({_VERBS})")
_VERB = re.compile(_VERBS)
_NAMED = re.compile(f"({'|'.join(re.escape(verb) for verb in _BEFORE)}) connection ")
_ADDRESS = re.compile(r"0x([0-9a-fA-F]+)")
_THREAD = re.compile(r"<\w*Connection\(([\w-]+), \w+")
_REASON = re.compile(r"(?<=>) \(reason: ([A-Za-z_][\w.]*)?")
_POOL_SIZE = re.compile(r"Pool size: (\d+)")
_LIMIT = re.compile(
    r"(\w+) limit of size (\d+) overflow (-?\d+) reached, connection timed out, timeout (\d+(?:\.\d+)?)"
)
_PSYCOPG = {
    "connection requested from": What.REQUESTED,
    "connection given by": What.GIVEN,
    "returning connection to": What.GIVEN_BACK,
}
_PSYCOPG_LINE = re.compile(f"({'|'.join(_PSYCOPG)}) '([^']*)'")
_PSYCOPG_TIMEOUT = re.compile(r"PoolTimeout: couldn't get a connection after (\d+(?:\.\d+)?) sec")

CLUES = (b"onnect", b"Pool ")
"""A line without any of these says nothing of a pool."""


def find_message(text: str) -> Message | None:
    """Return what a line says of a pool, or None."""
    usual = _USUAL.search(text)
    if usual:
        what = _AFTER[usual[2]]
        start = text.find("Pool pre-ping" if what is What.PING_FAILED else "Connection <", 0, usual.start())
        return Message(what, int(usual[1], 16), max(start, 0), usual.end())
    named = _NAMED.search(text)
    if named:
        return _about(text, _BEFORE[named[1]], named.start(), named.end())
    start = text.find("Connection ")
    verb = _VERB.search(text, start + 11) if start >= 0 else None
    if verb:
        key = key_of(text[start + 11 : verb.start()])
        return Message(_AFTER[verb[0]] if key else What.NAMELESS, key, start, verb.end())
    return _without_connection(text)


def _about(text: str, what: What, start: int, after: int) -> Message:
    """Read a message whose connection comes last, perhaps with a reason behind it."""
    failed = text.find(" failed, will invalidate pool", after) if what is What.PING else -1
    if failed >= 0:
        return Message(What.PING_FAILED, key_of(text[after:failed]), start, len(text))
    reason = _REASON.search(text, after)
    close = text.rfind(">", after, reason.start() if reason else len(text))
    end = reason.start() if reason else close + 1 if close >= 0 else len(text)
    key = key_of(text[after:end])
    if not key:
        return Message(What.NAMELESS, 0, start, end)
    # Behind a reason stands an exception's text, with whatever the driver put into it: it is no part of the prefix.
    return Message(what, key, start, len(text) if reason else end, (reason[1] or "",) if reason else ())


def _without_connection(text: str) -> Message | None:
    for words, what in _PLAIN.items():
        start = text.find(words)
        if start >= 0:
            size = _POOL_SIZE.search(text, start) if what is What.DISPOSED else None
            return Message(what, 0, start, len(text), (size[1],) if size else ())
    limit = _LIMIT.search(text)
    if limit:
        return Message(What.LIMIT, 0, limit.start(), len(text), limit.groups())
    line = _PSYCOPG_LINE.search(text)
    if line:
        return Message(_PSYCOPG[line[1]], 0, line.start(), line.end(), (line[2],))
    late = _PSYCOPG_TIMEOUT.search(text)
    return Message(What.TIMEOUT, 0, late.start(), len(text), (late[1],)) if late else None


def key_of(shown: str) -> Key:
    """Return by what a connection can be known again, from its repr; 0 when there is nothing.

    The address alone: the rest of psycopg's repr changes with the transaction. psycopg2 puts it before its dsn,
    all others last.
    """
    addresses = _ADDRESS.findall(shown)
    if addresses:
        return int(addresses[0 if "; dsn: " in shown else -1], 16)
    thread = _THREAD.search(shown)
    return thread[1] if thread else 0


_DRIVERS = (
    ("asyncpg.", "postgresql", "asyncpg"),
    ("<psycopg.", "postgresql", "psycopg"),
    ("<connection object at", "postgresql", "psycopg2"),
    ("psycopg2.", "postgresql", "psycopg2"),
    ("pg8000.", "postgresql", "pg8000"),
    ("aiosqlite", "sqlite", "aiosqlite"),
    ("Connection(Thread", "sqlite", "aiosqlite"),
    ("sqlite3.Connection", "sqlite", "pysqlite"),
    ("asyncmy.", "mysql", "asyncmy"),
    ("aiomysql.", "mysql", "aiomysql"),
    ("pymysql.", "mysql", "pymysql"),
    ("_mysql.", "mysql", "mysqldb"),
    ("MySQLdb.", "mysql", "mysqldb"),
    ("mysql.connector", "mysql", "mysqlconnector"),
    ("CMySQLConnection", "mysql", "mysqlconnector"),
    ("oracledb.", "oracle", "oracledb"),
    ("cx_Oracle.", "oracle", "cx_oracle"),
    ("aioodbc.", "mssql", "aioodbc"),
    ("pyodbc.", "mssql", "pyodbc"),
    ("pymssql.", "mssql", "pymssql"),
)


def driver_of(text: str) -> tuple[str, str]:
    """Return dialect and driver from the class of a connection in a line; ("?", "?") for one that is not known."""
    for part, dialect, driver in _DRIVERS:
        if part in text:
            return dialect, driver
    return "?", "?"
