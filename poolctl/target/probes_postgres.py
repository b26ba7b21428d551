"""PostgreSQL's own words: settings, pg_stat_activity, who blocks whom.

In: a Connection to a PostgreSQL. Out: ServerInfo; a sample (`probing.empty_sample`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.engine import Connection

from poolctl.target.probing import Backend, rows, sample_of, seconds, without_literals
from poolctl.trace.report import ServerInfo

SETTINGS = """
    select name, setting, unit from pg_settings
    where name in ('server_version', 'max_connections', 'superuser_reserved_connections', 'reserved_connections',
                   'idle_session_timeout', 'idle_in_transaction_session_timeout', 'statement_timeout', 'lock_timeout')
"""

# To a role without pg_monitor the sessions of others show their pid and nothing else: no backend_type, no state.
OTHERS = """
    from pg_stat_activity
    where pid <> pg_backend_pid() and datid is not null and coalesce(application_name, '') <> 'poolctl'
      and coalesce(backend_type, 'client backend') = 'client backend'"""

SERVER = "select extract(epoch from clock_timestamp() - pg_postmaster_start_time()), pg_is_in_recovery()"

# pg_locks and pg_blocking_pids stop the lock manager for a moment: they are asked only when somebody waits for a lock,
# the former once (a WITH query that nobody reads is not run). It tells since when from PostgreSQL 14 on.
WAITING = """
    with waiting as materialized (
      select pid as waiter, extract(epoch from clock_timestamp() - min(waitstart)) as since
      from pg_locks where not granted group by pid)"""
SINCE, UNKNOWN = "(select since from waiting where waiter = pid)", "cast(null as float)"

# What happens in other databases of the server is not about this application: it counts in `in_use` only.
BACKENDS = f"""
    select pid, coalesce(application_name, '') as application, coalesce(usename, '') as username,
           coalesce(host(client_addr), '') as client, state, wait_event_type, wait_event,
           query = '<insufficient privilege>' as hidden, left(query, 1000) as query,
           extract(epoch from clock_timestamp() - state_change) as state_s,
           extract(epoch from clock_timestamp() - xact_start) as transaction_s,
           extract(epoch from clock_timestamp() - backend_start) as age_s,
           case when wait_event_type = 'Lock' then pg_blocking_pids(pid) end as blocked_by,
           case when wait_event_type = 'Lock' then {{waited}} end as waited_s
    {OTHERS} and datname = current_database()"""  # noqa: S608 - constants

UNIT_S = {"ms": 0.001, "s": 1.0, "min": 60.0}


def info(connection: Connection) -> ServerInfo:
    """Return what the server is; poolers and look-alikes may show none of it."""
    found = {row.name: row for row in rows(connection, SETTINGS)}
    limit = found.get("max_connections")
    # reserved_connections came with PostgreSQL 16.
    reserved = [found[name] for name in ("superuser_reserved_connections", "reserved_connections") if name in found]
    version = found.get("server_version")
    [(uptime, replica)] = rows(connection, SERVER)
    in_use = rows(connection, f"select count(*) {OTHERS}")[0][0]
    return ServerInfo(
        version=version.setting if version else None,
        max_connections=int(limit.setting) if limit else None,
        reserved_connections=sum(int(row.setting) for row in reserved) if reserved else None,
        in_use=int(in_use),
        idle_timeout_s=_limit(found.get("idle_session_timeout")),
        idle_in_transaction_timeout_s=_limit(found.get("idle_in_transaction_session_timeout")),
        statement_timeout_s=_limit(found.get("statement_timeout")),
        lock_timeout_s=_limit(found.get("lock_timeout")),
        uptime_s=seconds(uptime),
        replica=bool(replica),
    )


def address(connection: Connection) -> list[str]:
    """Return the server's own address; none over a unix socket."""
    return [row[0] for row in rows(connection, "select host(inet_server_addr())") if row[0]]


def sample(connection: Connection) -> dict[str, Any]:
    """Return the sessions of others right now."""
    [(uptime, replica)] = rows(connection, SERVER)
    return sample_of(_backends(connection)) | {"uptime_s": seconds(uptime), "replica": bool(replica)}


def _backends(connection: Connection) -> Iterator[Backend]:
    tells = (connection.dialect.server_version_info or (0,)) >= (14,)
    asked = WAITING + BACKENDS.format(waited=SINCE) if tells else BACKENDS.format(waited=UNKNOWN)
    for row in rows(connection, asked):
        if row.hidden:
            yield Backend(row.pid, row.application, row.username)
            continue
        waits = row.state == "active" and row.wait_event_type
        yield Backend(
            row.pid,
            row.application,
            row.username,
            row.client,
            row.state or "starting",  # a session that has not finished its login, or track_activities is off
            f"{row.wait_event_type}:{row.wait_event}" if waits else None,
            seconds(row.state_s),
            seconds(row.transaction_s),
            seconds(row.age_s),
            without_literals(row.query or ""),
            [int(pid) for pid in row.blocked_by or ()],
            seconds(row.waited_s),
        )


def _limit(row: Any) -> float | None:
    """Return a timeout's seconds; None: there is none."""
    value = float(row.setting) * UNIT_S[row.unit] if row is not None else 0.0
    return value or None
