"""What a refused connection means, in one line.

In: whatever a driver raised while connecting, and the target as it may be shown. Out: a PoolctlError that says what
was wrong and what to do. No secret of the URL survives. Knows SQLSTATEs, MySQL's error numbers, the operating system's
errors and, for drivers that give only text, the text.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from poolctl.errors import ConfigError, PoolctlError, TargetError, UsageError
from poolctl.redact import scrub

EXTRAS = {"asyncmy": "mysql", "pymysql": "mysql", "aiosqlite": "sqlite", "psycopg": "psycopg"}
"""Driver module → extra of poolctl that installs it."""
PACKAGES = {"MySQLdb": "mysqlclient", "psycopg2": "psycopg2-binary"}
"""Driver module → its package, where that has another name."""
UNREACHABLE = frozenset({"2002", "2003", "2005"})
"""MySQL's error numbers of a client that got no connection."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One way in which a server refuses, and how it shows. First match wins."""

    says: str
    """The sentence, after the target."""
    hint: str
    codes: frozenset[str] = frozenset()
    """SQLSTATEs and MySQL error numbers."""
    kinds: tuple[type[BaseException], ...] = ()
    text: str = r"(?!)"
    """Pattern over the message."""

    def fits(self, error: BaseException) -> bool:
        """Whether `error` (one link of the chain) is this failure."""
        return (
            bool(self.codes & _codes(error))
            or isinstance(error, self.kinds)
            or re.search(self.text, str(error), re.IGNORECASE) is not None
        )


BUSY = Failure(
    "the server has no free connection",
    "raise max_connections, or stop other clients",
    codes=frozenset({"53300", "1040", "1203"}),
    text=r"too many clients|too many connections|no more connections allowed|remaining connection slots",
)

LOST = Failure(
    "the connection was lost",
    "check the server's log",
    kinds=(ConnectionError, EOFError),
    codes=frozenset({"08000", "08001", "08003", "08004", "08006", "2006", "2013"}),
    text=r"connection was closed|server closed the connection|connection is closed|Lost connection"
    r"|unexpected connection_lost|connection has been closed",
)

FAILURES = (
    Failure(
        "the server does not allow this user, database and address unencrypted (pg_hba.conf)",
        "add ssl=require (asyncpg) or sslmode=require (psycopg) to the URL, or ask for an entry in pg_hba.conf",
        text=r"no pg_hba\.conf entry .* (no encryption|SSL off)",
    ),
    Failure(
        "the server wants an encrypted connection",
        "add the driver's ssl parameter to the URL",
        text=r"SSL connection is required|insecure transport",
    ),
    Failure(
        "the server does not allow this user, database and address (pg_hba.conf)",
        "ask for an entry in the server's pg_hba.conf, or connect from an allowed address",
        text=r"no pg_hba\.conf entry|pg_hba\.conf rejects|is not allowed to connect to this",
        codes=frozenset({"1130"}),
    ),
    Failure(
        "the server does not speak SSL",
        "leave the ssl parameter out of the URL, or switch SSL on in the server",
        text=r"rejected SSL upgrade|server does not support SSL|does not support SSL",
    ),
    Failure(
        "no such role (user)",
        "correct the user in the URL, or create the role",
        text=r'role ".*" does not exist',
    ),
    Failure(
        "the password was not accepted",
        "correct user or password in the URL; percent-encode special characters in it",
        codes=frozenset({"28P01", "1045", "1698"}),
        text=r"password authentication failed|no password supplied|password required|Access denied for user .*password",
    ),
    Failure(
        "the user may not log in or use this database",
        "grant LOGIN and CONNECT, or use another user",
        codes=frozenset({"28000", "42501", "1044"}),
        text=r"peer authentication failed|ident authentication failed|is not permitted to log in",
    ),
    Failure(
        "no such database",
        "correct the database in the URL, or create it",
        codes=frozenset({"3D000", "1049"}),
        text=r'database ".*" does not exist|unknown database|unable to open database file',
    ),
    BUSY,
    Failure(
        "the server is starting up or shutting down",
        "try again when it is ready",
        codes=frozenset({"57P03", "57P01", "57P02"}),
        text=r"the database system is (starting|shutting)",
    ),
    Failure(
        "the certificate or the encryption was refused",
        "check the ssl parameters of the URL and the server's certificate",
        kinds=(ssl.SSLError,),
        codes=frozenset({"2026"}),
        text=r"certificate verify failed|SSL error|SSL routines",
    ),
    Failure(
        "unknown host",
        "correct the host in the URL, or check DNS",
        codes=frozenset({"2005"}),
        kinds=(socket.gaierror,),
        text=r"could not translate host name|Name or service not known|nodename nor servname|failed to resolve host"
        r"|Temporary failure in name resolution|getaddrinfo failed",
    ),
    Failure(
        "no answer in time",
        "check host, port and firewall",
        kinds=(TimeoutError,),
        text=r"connection timeout expired|timed out|Can't connect .*\(110\)",
    ),
    Failure(
        "connection refused",
        "start the server, or correct host and port in the URL",
        kinds=(ConnectionRefusedError, FileNotFoundError),
        codes=frozenset({"2002", "2003"}),
        text=r"Connect call failed|connection refused|Can't connect to MySQL|No such file or directory|\bErrno 111\b",
    ),
    LOST,
    Failure(
        "permission denied by the operating system",
        "check who may use the socket or file",
        kinds=(PermissionError,),
    ),
)

_UNKNOWN_PARAMETER = re.compile(r"unexpected keyword argument '(\w+)'|'(\w+)' is an invalid keyword argument")


def explain(error: BaseException, shown: str, url: str | None = None) -> PoolctlError:
    """Return the one-line error for what connecting to `shown` (redacted) raised; `url` is what to scrub from texts."""
    if isinstance(error, PoolctlError):
        return error
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, ModuleNotFoundError):
            return missing_driver(link, shown)
        if isinstance(link, TypeError) and (match := _UNKNOWN_PARAMETER.search(str(link))):
            hint = "asyncpg says ssl=require where libpq says sslmode=require" if "ssl" in match[0] else "leave it out"
            return UsageError(f"{shown}: the driver does not know the URL parameter {match[1] or match[2]!r}", hint)
    for failure in FAILURES:
        if any(failure.fits(link) for link in chain):
            said = scrub(str(chain[0]), url)
            detail = f" ({said[:200]})" if said and not isinstance(chain[0], TimeoutError | OSError) else ""
            return TargetError(f"{shown}: {failure.says}{detail}", failure.hint)
    said = scrub(str(chain[0]), url)[:300]
    return TargetError(
        f"{shown}: cannot connect: {type(chain[0]).__name__}: {said}", "check the URL and the server's log"
    )


def missing_driver(error: ModuleNotFoundError, shown: str) -> ConfigError:
    """Return the error that names what to install for a driver."""
    module = (error.name or "").partition(".")[0] or "?"
    what = f"poolctl[{EXTRAS[module]}]" if module in EXTRAS else PACKAGES.get(module, module)
    return ConfigError(f"{shown}: the driver {module!r} is not installed", f"run `pip install '{what}'`")


def is_connection_loss(error: BaseException) -> bool:
    """Whether `error` means that the server or the connection is gone, rather than that a query was refused."""
    return any(
        isinstance(link, OSError | EOFError | TimeoutError)
        or bool(getattr(link, "connection_invalidated", False))
        or any(code.startswith(("08", "57P")) or code in LOST.codes | UNREACHABLE for code in _codes(link))
        or re.search(LOST.text, str(link), re.IGNORECASE) is not None
        for link in _chain(error, everything=True)
    )


def is_busy(error: BaseException) -> bool:
    """Whether `error` means that the server answers, and has no free connection."""
    return any(BUSY.fits(link) for link in _chain(error))


def _chain(error: BaseException, *, everything: bool = False) -> Iterator[BaseException]:
    """The driver's own error first, then what it came from; with `everything` SQLAlchemy's wrappers too."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        link = getattr(link, "orig", None) or link.__cause__ or link.__context__
    wrapped = [link for link in seen if getattr(link, "orig", None) is None]
    return iter(seen if everything else wrapped or seen)


def _codes(error: BaseException) -> frozenset[str]:
    found = {str(getattr(error, "sqlstate", None))}
    if error.args and isinstance(error.args[0], int) and not isinstance(error, OSError):
        found.add(str(error.args[0]))
    return frozenset(found)
