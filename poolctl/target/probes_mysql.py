"""MySQL's and MariaDB's own words: variables, the process list, InnoDB's transactions and who blocks whom.

In: a Connection to a MySQL or MariaDB. Out: ServerInfo; a sample (`probing.empty_sample`). What a role may not ask
(PROCESS is needed for transactions and locks) is left out, and the sample says so.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from poolctl.target.probing import Backend, rows, sample_of, seconds, without_literals
from poolctl.trace.report import ServerInfo

SETTINGS = """
    select version(), @@global.max_connections, @@global.wait_timeout, @@global.interactive_timeout,
           @@global.innodb_lock_wait_timeout, @@global.read_only"""

STATUS = "show global status where variable_name in ('Threads_connected', 'Max_used_connections', 'Uptime')"

# Without PROCESS the list holds our own user's sessions only; user_privileges shows us our own.
SESSIONS = """
    select id, user, coalesce(host, '') as host, command, state, time, left(info, 1000) as query, exists(
        select 1 from information_schema.user_privileges where privilege_type = 'PROCESS') as sees_all
    from information_schema.processlist
    where id <> connection_id() and command not in ('Daemon', 'Binlog Dump', 'Slave_SQL', 'Slave_IO', 'Slave_worker')
      and user not in ('system user', 'event_scheduler')"""

NO_TRANSACTIONS = "transactions, and who blocks whom (grant PROCESS to see them)"

TRANSACTIONS = """
    select trx_mysql_thread_id as id, trx_state as state, timestampdiff(second, trx_started, now()) as transaction_s,
           timestampdiff(second, trx_wait_started, now()) as waited_s
    from information_schema.innodb_trx"""

# MariaDB has it in information_schema; MySQL 8 moved it to performance_schema.
LOCKS = (
    """
    select waiter.trx_mysql_thread_id as waits, blocker.trx_mysql_thread_id as holds
    from information_schema.innodb_lock_waits w
    join information_schema.innodb_trx waiter on waiter.trx_id = w.requesting_trx_id
    join information_schema.innodb_trx blocker on blocker.trx_id = w.blocking_trx_id""",
    """
    select waiter.processlist_id as waits, blocker.processlist_id as holds
    from performance_schema.data_lock_waits w
    join performance_schema.threads waiter on waiter.thread_id = w.requesting_thread_id
    join performance_schema.threads blocker on blocker.thread_id = w.blocking_thread_id""",
)


def info(connection: Connection) -> ServerInfo:
    """Return what the server is."""
    [(version, limit, idle, interactive, lock, read_only)] = rows(connection, SETTINGS)
    status = _status(connection)
    # One connection beyond max_connections is kept for an administrator: nothing is taken from the limit.
    return ServerInfo(
        version=str(version),
        max_connections=int(limit),
        reserved_connections=0,
        in_use=_others(status),
        idle_timeout_s=float(idle),
        interactive_timeout_s=float(interactive),
        lock_timeout_s=float(lock),
        max_used_connections=int(status.get("max_used_connections", 0)) or None,
        uptime_s=float(status["uptime"]) if "uptime" in status else None,
        replica=_switched_on(read_only),
    )


def sample(connection: Connection) -> dict[str, Any]:
    """Return the sessions of others right now."""
    status = _status(connection)
    listed = rows(connection, SESSIONS)
    transactions, waits = _transactions(connection), _lock_waits(connection)
    made = sample_of(_backends(listed, transactions or {}, waits or {}))
    if transactions is None or waits is None:
        made["unseen"] = [NO_TRANSACTIONS]
    if not any(row.sees_all for row in listed):
        made["hidden"] = max(0, _others(status) - made["sessions"])
        made["sessions"] += made["hidden"]
    [(read_only,)] = rows(connection, "select @@global.read_only")
    made["uptime_s"] = float(status["uptime"]) if "uptime" in status else None
    made["replica"] = _switched_on(read_only)
    return made


def _backends(
    listed: list[Any], transactions: dict[int, tuple[str, float, float | None]], blockers: dict[int, list[int]]
) -> list[Backend]:
    made = []
    for row in listed:
        pid, said = int(row.id), row.state or ""
        kind, age, waited = transactions.get(pid, ("", None, None))
        sleeping = row.command == "Sleep"
        locked = kind == "LOCK WAIT" or "lock" in said.lower()
        state = ("idle in transaction" if age is not None else "idle") if sleeping else "active"
        wait = (f"Lock:{said or 'row lock'}" if locked else said) or None
        made.append(
            Backend(
                pid,
                row.user,
                row.user,
                row.host.rpartition(":")[0] or row.host,
                state,
                None if sleeping else wait,
                max(0.0, float(row.time or 0)),
                age,
                None,
                without_literals(row.query or "", mysql=True),
                blockers.get(pid, []),
                waited,
            )
        )
    return made


def _transactions(connection: Connection) -> dict[int, tuple[str, float, float | None]] | None:
    """Connection id -> state and age of its transaction, and for how long it has waited for a lock; None: refused."""
    try:
        found = rows(connection, TRANSACTIONS)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return None
    return {
        int(row.id): (str(row.state), max(0.0, float(row.transaction_s or 0)), seconds(row.waited_s)) for row in found
    }


def _lock_waits(connection: Connection) -> dict[int, list[int]] | None:
    """Connection id -> those that it waits for; None: refused."""
    found: dict[int, list[int]] = defaultdict(list)
    for statement in LOCKS if getattr(connection.dialect, "is_mariadb", False) else reversed(LOCKS):
        try:
            for row in rows(connection, statement):
                found[int(row.waits)].append(int(row.holds))
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            continue  # the other server's tables, or PROCESS is missing
        return {pid: sorted(set(holders)) for pid, holders in found.items()}
    return None


def _status(connection: Connection) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in rows(connection, STATUS)}


def _others(status: dict[str, str]) -> int:
    """All sessions but ours: a number that needs no privilege."""
    return max(0, int(status.get("threads_connected", 1)) - 1)


def _switched_on(value: Any) -> bool:
    return str(value).upper() in ("1", "ON", "TRUE")
