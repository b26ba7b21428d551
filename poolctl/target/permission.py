"""What poolctl may do to a target: load a host that is not this machine, write to a database that is not its own.

In: a TargetSpec and, once it is open, the engine's URL. Out: nothing, or UsageError saying which option allows it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from sqlalchemy.engine import URL

from poolctl.errors import UsageError
from poolctl.target.spec import TargetSpec


def is_local(url: URL) -> bool:
    """Whether `url` stays on this machine: a unix socket, a loopback address, `localhost`, a file, or no host."""
    return all_local(hosts(url))


def all_local(named: Iterable[str]) -> bool:
    """Whether every host is this machine."""
    return all(_is_local_host(host) for host in named)


def hosts(url: URL) -> list[str]:
    """Return every host that `url` names, in its authority and in its parameters; a unix socket is its directory."""
    named = [url.host] if url.host else []
    for key in ("host", "hostaddr", "unix_socket"):
        value = url.query.get(key, ())
        for part in (value,) if isinstance(value, str) else value:
            named.extend(part.split(","))  # `host=a,b`, and `host=a:5432` as asyncpg's dialect reads it
    return [name for name in named if name]


def refuse_distant(spec: TargetSpec, named: Iterable[str]) -> None:
    """Raise UsageError when one of the hosts is not this machine and nobody said `--yes`."""
    away = sorted({host for host in named if not _is_local_host(host)})
    if away and not spec.yes:
        raise UsageError(
            f"{', '.join(away)} is not this machine, and a load test can take a database down", "add --yes to load it"
        )


def refuse_writes(spec: TargetSpec, writers: Iterable[str]) -> None:
    """Raise UsageError when `writers` (set-up, transactions, by name) would change a database that is not our own."""
    names = list(writers)
    if names and not spec.embedded and not spec.needs_embedded and not spec.allow_writes:
        raise UsageError(
            f"{', '.join(names)} would write to {spec.shown}",
            "add --allow-writes where that is harmless, or leave --url and --engine out to use the embedded PostgreSQL",
        )


def _is_local_host(host: str) -> bool:
    if host.startswith(("/", "@")):
        return True
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        bare, colon, port = name.rpartition(":")
        return bool(colon) and port.isdigit() and _is_local_host(bare)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
