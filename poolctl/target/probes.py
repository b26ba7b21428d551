"""What a server says of itself and of its sessions, by dialect. FIELD.md section 7, server side.

In: an open AsyncConnection of poolctl's own watcher. Out: ServerInfo, or a plain dict for `server.jsonl`; what the role
may not see is None. Only reads; ends each transaction it begins.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from poolctl.clock import monotonic_ns
from poolctl.target import machine, permission
from poolctl.trace.report import ServerInfo

WATCH_NAME = "poolctl"
"""application_name of the watcher's session: never counted."""

POSTGRES_SETTINGS = text("""
    select name, setting from pg_settings
    where name in ('server_version', 'max_connections', 'superuser_reserved_connections', 'reserved_connections')""")

# To a role without pg_monitor the sessions of others show their pid and nothing else: no backend_type, no state.
POSTGRES_OTHERS = """
    from pg_stat_activity
    where pid <> pg_backend_pid() and datid is not null and coalesce(application_name, '') <> 'poolctl'
      and coalesce(backend_type, 'client backend') = 'client backend'"""

POSTGRES_ADDRESS = text("select host(inet_server_addr())")

POSTGRES_IN_USE = text(f"select count(*) {POSTGRES_OTHERS}")

POSTGRES_SESSIONS = text(f"""
    select coalesce(application_name, '') as application, state, wait_event_type, count(*) as sessions,
           count(*) filter (where query = '<insufficient privilege>') as hidden,
           max(extract(epoch from clock_timestamp() - state_change))
             filter (where state like 'idle in transaction%') as idle_in_transaction_s,
           max(extract(epoch from clock_timestamp() - xact_start)) as transaction_s
    {POSTGRES_OTHERS}
    group by 1, 2, 3""")  # noqa: S608 - constants

MYSQL_SETTINGS = text("select version(), @@max_connections")

MYSQL_CONNECTED = text("show global status like 'Threads_connected'")

# Without PROCESS the list holds our own user's sessions only; user_privileges shows us our own.
MYSQL_SESSIONS = text("""
    select user, command, state, exists(
        select 1 from information_schema.user_privileges where privilege_type = 'PROCESS') as sees_all
    from information_schema.processlist
    where id <> connection_id() and command not in ('Daemon', 'Binlog Dump', 'Slave_SQL', 'Slave_IO')
      and user not in ('system user', 'event_scheduler')""")

HIDDEN = "the state of other users' sessions (grant pg_monitor, or PROCESS in MySQL, to see it)"

MYSQLS = ("mysql", "mariadb")


async def server_info(connection: AsyncConnection) -> ServerInfo:
    """Return what the server is and how many sessions of others it carries; what cannot be seen is None."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        info = await _postgres_info(connection)
    elif dialect in MYSQLS:
        info = await _mysql_info(connection)
    else:
        version = getattr(connection.dialect, "server_version_info", None)
        return ServerInfo(version=".".join(map(str, version)) if version else None)
    here = permission.all_local(await where(connection))
    return replace(info, cores=machine.cores() if here else None)


async def where(connection: AsyncConnection) -> list[str]:
    """Return the hosts that the URL names; without any, the server's own address (none over a unix socket)."""
    named = permission.hosts(connection.engine.url)
    if named or connection.dialect.name != "postgresql":
        return named
    return [row[0] for row in await _rows(connection, POSTGRES_ADDRESS) if row[0]]


async def sessions(connection: AsyncConnection) -> dict[str, Any] | None:
    """Return the sessions of others right now, or None where the dialect has nothing to see or the role may not.

    `at_ns` (monotonic), `sessions`, `active`, `active_others` (those not named poolctl…; PostgreSQL only), `idle`,
    `idle_in_transaction`, `hidden`, `lock_waits`, `lwlock_waits`, `io_waits` (active sessions by what they wait for),
    `longest_idle_in_transaction_s`, `longest_transaction_s` (None: no such session), `applications` (name → sessions).
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        return _postgres_sample(await _rows(connection, POSTGRES_SESSIONS))
    if dialect in MYSQLS:
        connected = await _mysql_connected(connection)
        return _mysql_sample(await _rows(connection, MYSQL_SESSIONS), connected)
    return None


async def _rows(connection: AsyncConnection, statement: Any) -> list[Any]:
    try:
        return list(await connection.execute(statement))
    finally:
        await connection.rollback()


async def _postgres_info(connection: AsyncConnection) -> ServerInfo:
    settings = {row.name: row.setting for row in await _rows(connection, POSTGRES_SETTINGS)}
    limit = settings.get("max_connections")
    # reserved_connections came with PostgreSQL 16; poolers and look-alikes may show none of these.
    reserved = [
        settings[name] for name in ("superuser_reserved_connections", "reserved_connections") if name in settings
    ]
    in_use = (await _rows(connection, POSTGRES_IN_USE))[0][0]
    return ServerInfo(
        version=settings.get("server_version"),
        max_connections=int(limit) if limit else None,
        reserved_connections=sum(map(int, reserved)) if reserved else None,
        in_use=int(in_use),
    )


def _postgres_sample(rows: list[Any]) -> dict[str, Any]:
    sample = _empty_sample()
    for row in rows:
        count = int(row.sessions)
        sample["sessions"] += count
        sample["hidden"] += int(row.hidden)
        state = row.state or ""
        if state.startswith("idle in transaction"):
            sample["idle_in_transaction"] += count
        elif state in ("active", "fastpath function call"):
            sample["active"] += count
            sample["active_others"] += 0 if row.application.startswith("poolctl") else count
            waits = f"{(row.wait_event_type or '').lower()}_waits"
            if waits in ("lock_waits", "lwlock_waits", "io_waits"):
                sample[waits] += count
        elif state == "idle":
            sample["idle"] += count
        sample["applications"][row.application] = sample["applications"].get(row.application, 0) + count
        _raise_to(sample, "longest_idle_in_transaction_s", row.idle_in_transaction_s)
        _raise_to(sample, "longest_transaction_s", row.transaction_s)
    return sample


async def _mysql_info(connection: AsyncConnection) -> ServerInfo:
    version, limit = (await _rows(connection, MYSQL_SETTINGS))[0]
    # One connection beyond max_connections is kept for an administrator: nothing is taken from the limit.
    return ServerInfo(str(version), int(limit), 0, await _mysql_connected(connection))


async def _mysql_connected(connection: AsyncConnection) -> int:
    """All sessions but ours: a number that needs no privilege."""
    return max(0, int((await _rows(connection, MYSQL_CONNECTED))[0][1]) - 1)


def _mysql_sample(rows: list[Any], connected: int) -> dict[str, Any]:
    sample = _empty_sample()
    for user, command, state, _ in rows:
        sample["sessions"] += 1
        sample["idle" if command == "Sleep" else "active"] += 1
        sample["lock_waits"] += "lock" in (state or "").lower()
        sample["applications"][user] = sample["applications"].get(user, 0) + 1
    if not any(sees_all for *_, sees_all in rows):
        sample["hidden"] = max(0, connected - sample["sessions"])
        sample["sessions"] += sample["hidden"]
    return sample


def _empty_sample() -> dict[str, Any]:
    waits = ("lock_waits", "lwlock_waits", "io_waits")
    counts = ("sessions", "active", "active_others", "idle", "idle_in_transaction", "hidden", *waits)
    return {
        "at_ns": monotonic_ns(),
        **dict.fromkeys(counts, 0),
        "longest_idle_in_transaction_s": None,
        "longest_transaction_s": None,
        "applications": {},
    }


def _raise_to(sample: dict[str, Any], key: str, value: Any) -> None:
    if value is not None:
        sample[key] = max(sample[key] or 0.0, float(value), 0.0)
