"""PgBouncer's own words, from its admin console: how it is configured, who waits, what its connections do.

In: the URL of the console (database `pgbouncer`). Out: ProxyInfo; plain dicts for `proxy.jsonl`. The console speaks the
simple query protocol only, so psycopg with client-side cursors asks. Columns differ by version: read by name.
FIELD.md section 7.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from poolctl.clock import monotonic_ns
from poolctl.errors import UsageError
from poolctl.redact import redact
from poolctl.target import failures
from poolctl.target.probing import WATCH_NAME
from poolctl.trace.report import ProxyInfo

CONNECT_S = 5
CONSOLE = "pgbouncer"
"""The name of the console's database."""
HINT = "write it as postgresql://user@host:6432/pgbouncer; the user has to be in stats_users or admin_users"

POOL_COUNTS = ("cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login")
STATS = ("total_xact_count", "total_query_count", "total_wait_time")


class PgBouncer:
    """One connection to the console, opened anew when it is gone. For one thread.

    Raises UsageError for a URL that is none.
    """

    def __init__(self, url: str) -> None:
        self._url = _parse(url)
        self._given = url
        self._connection: Any = None
        self.connects = 0
        """How often it had to connect: more than once means that the console was gone."""

    def info(self) -> ProxyInfo:
        """Return how it is configured. Raises TargetError when it cannot be reached."""
        config = {str(row["key"]): str(row["value"]) for row in self._show("config")}
        version = next(iter(self._show("version")), {})
        return ProxyInfo(
            version=next((word for word in str(next(iter(version.values()), "")).split() if word[:1].isdigit()), None),
            pool_mode=config.get("pool_mode"),
            default_pool_size=_whole(config.get("default_pool_size")),
            reserve_pool_size=_whole(config.get("reserve_pool_size")),
            max_client_conn=_whole(config.get("max_client_conn")),
            max_db_connections=_whole(config.get("max_db_connections")) or None,
            client_idle_timeout_s=_limit(config.get("client_idle_timeout")),
            idle_transaction_timeout_s=_limit(config.get("idle_transaction_timeout")),
            query_timeout_s=_limit(config.get("query_timeout")),
            query_wait_timeout_s=_limit(config.get("query_wait_timeout")),
            server_idle_timeout_s=_limit(config.get("server_idle_timeout")),
            server_lifetime_s=_limit(config.get("server_lifetime")),
        )

    def sample(self) -> dict[str, Any]:
        """Return what it does right now. Raises TargetError when it cannot be reached.

        `at_ns`, `connects`, `pools` (one a database and user: POOL_COUNTS, maxwait_s, pool_mode, pool_size), `stats` by
        database (STATS, since it started), `servers` and `clients` (state → connections).
        """
        sizes = {row["name"]: _whole(row.get("pool_size")) for row in self._show("databases")}
        pools = [_pool(row, sizes) for row in self._show("pools") if row["database"] != CONSOLE]
        stats = {
            row["database"]: {name: int(row.get(name) or 0) for name in STATS}
            for row in self._show("stats")
            if row["database"] != CONSOLE
        }
        servers = Counter(str(row.get("state")) for row in self._show("servers"))
        clients = Counter(str(row.get("state")) for row in self._show("clients") if row.get("database") != CONSOLE)
        return {
            "at_ns": monotonic_ns(),
            "connects": self.connects,
            "pools": pools,
            "stats": stats,
            "servers": dict(servers),
            "clients": dict(clients),
        }

    def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    def _show(self, what: str) -> list[dict[str, Any]]:
        try:
            if self._connection is None:
                self._connection = self._connect()
                self.connects += 1
            return list(self._connection.execute(f"show {what}").fetchall())
        except Exception as error:  # noqa: BLE001 - drivers raise what they like; all is explained
            self.close()
            raise failures.explain(error, f"PgBouncer at {redact(self._given)}", self._given) from None

    def _connect(self) -> Any:
        import psycopg
        from psycopg.rows import dict_row

        arguments: dict[str, Any] = {"host": self._url.host, "port": self._url.port, **dict(self._url.query)}
        arguments |= {"user": self._url.username, "password": self._url.password, "dbname": self._url.database}
        given = {key: value for key, value in arguments.items() if value}
        connection: Any = psycopg.connect(
            **{"connect_timeout": CONNECT_S, "application_name": WATCH_NAME, **given},
            autocommit=True,
            prepare_threshold=None,
            cursor_factory=psycopg.ClientCursor,
        )
        connection.row_factory = dict_row
        return connection


def _parse(given: str) -> URL:
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise UsageError(f"cannot read {redact(given)!r} as the URL of PgBouncer's console", HINT) from None
    if not url.drivername.startswith("postgres"):
        raise UsageError(f"{redact(given)!r} is not a PgBouncer: only its console is understood so far", HINT)
    if url.database not in (None, "", CONSOLE):
        raise UsageError(
            f"{redact(given)!r} names the database {url.database!r}, and PgBouncer's console is {CONSOLE!r}", HINT
        )
    return url.set(database=CONSOLE)


def _pool(row: dict[str, Any], sizes: dict[str, int | None]) -> dict[str, Any]:
    waited = float(row.get("maxwait") or 0) + float(row.get("maxwait_us") or 0) / 1e6
    counts = {name: int(row.get(name) or 0) for name in POOL_COUNTS}
    return {
        "database": row["database"],
        "user": row["user"],
        **counts,
        "maxwait_s": round(waited, 6),
        "pool_mode": row.get("pool_mode"),
        "pool_size": sizes.get(row["database"]),
    }


def _whole(value: Any) -> int | None:
    return int(value) if value is not None and str(value).lstrip("-").isdigit() else None


def _limit(value: str | None) -> float | None:
    """Return a timeout in seconds; None: there is none (PgBouncer writes 0)."""
    try:
        return float(value or 0) or None
    except ValueError:
        return None
