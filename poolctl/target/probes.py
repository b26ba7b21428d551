"""What a server says of itself and of its sessions, whatever its dialect. FIELD.md section 7, server side.

In: an open Connection of poolctl's own watcher. Out: ServerInfo, or a plain dict for `server.jsonl`; what the role may
not see is None. Only reads; ends each transaction it begins. What is asked of a dialect is in `probes_postgres` and
`probes_mysql`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy.engine import Connection

from poolctl.target import machine, permission, probes_mysql, probes_postgres
from poolctl.target.probing import HIDDEN, WATCH_NAME
from poolctl.trace.report import ServerInfo

__all__ = ["HIDDEN", "MYSQLS", "WATCH_NAME", "server_info", "sessions", "where"]

MYSQLS = ("mysql", "mariadb")


def server_info(connection: Connection) -> ServerInfo:
    """Return what the server is and how many sessions of others it carries; what cannot be seen is None."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        info = probes_postgres.info(connection)
    elif dialect in MYSQLS:
        info = probes_mysql.info(connection)
    else:
        version = getattr(connection.dialect, "server_version_info", None)
        return ServerInfo(version=".".join(map(str, version)) if version else None)
    here = permission.all_local(where(connection))
    return replace(info, cores=machine.cores() if here else None)


def where(connection: Connection) -> list[str]:
    """Return the hosts that the URL names; without any, the server's own address (none over a unix socket)."""
    named = permission.hosts(connection.engine.url)
    if named or connection.dialect.name != "postgresql":
        return named
    return probes_postgres.address(connection)


def sessions(connection: Connection) -> dict[str, Any] | None:
    """Return the sessions of others right now (`probing.empty_sample`), or None where there is nothing to see."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        return probes_postgres.sample(connection)
    return probes_mysql.sample(connection) if dialect in MYSQLS else None
