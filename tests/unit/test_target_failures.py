"""Whatever a driver raises becomes one line that says what to do and holds no secret."""

from __future__ import annotations

import socket
import ssl

import asyncpg
import pytest
from sqlalchemy.exc import OperationalError

from poolctl.errors import ConfigError, Exit, TargetError, UsageError
from poolctl.target.failures import explain, is_busy, is_connection_loss

URL = "postgresql+asyncpg://u:secret7@h/db"


def psycopg_says(text: str) -> OperationalError:
    return OperationalError("select 1", {}, Exception(text))


def mysql_says(number: int, text: str) -> OperationalError:
    return OperationalError(None, None, type("OperationalError", (Exception,), {})(number, text))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 5432)"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 5432, 0, 0)"), "connection refused"),
        (FileNotFoundError(2, "No such file or directory"), "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "unknown host"),
        (TimeoutError(), "no answer in time"),
        (PermissionError(13, "Permission denied"), "permission denied"),
        (ConnectionResetError(104, "Connection reset by peer"), "connection was lost"),
        (ssl.SSLCertVerificationError("certificate verify failed"), "certificate"),
        (ConnectionError("PostgreSQL server at 'h:1' rejected SSL upgrade"), "does not speak SSL"),
        (asyncpg.InvalidPasswordError('password authentication failed for user "u"'), "password was not accepted"),
        (asyncpg.InvalidCatalogNameError('database "db" does not exist'), "no such database"),
        (asyncpg.InvalidAuthorizationSpecificationError('role "u" does not exist'), "no such role"),
        (
            asyncpg.InvalidAuthorizationSpecificationError(
                'no pg_hba.conf entry for host "1.2.3.4", user "u", database "db", no encryption'
            ),
            "does not allow this user, database and address unencrypted",
        ),
        (
            asyncpg.InvalidAuthorizationSpecificationError(
                'no pg_hba.conf entry for host "1.2.3.4", user "u", database "db", SSL encryption'
            ),
            "does not allow this user",
        ),
        (asyncpg.TooManyConnectionsError("sorry, too many clients already"), "no free connection"),
        (asyncpg.CannotConnectNowError("the database system is starting up"), "starting up"),
        (psycopg_says('FATAL:  password authentication failed for user "u"'), "password was not accepted"),
        (psycopg_says("connection is bad: no such host: [Errno -2] Name or service not known"), "unknown host"),
        (mysql_says(1045, "Access denied for user 'u'@'h' (using password: YES)"), "password was not accepted"),
        (mysql_says(1049, "Unknown database 'db'"), "no such database"),
        (mysql_says(2003, "Can't connect to MySQL server on 'h'"), "connection refused"),
        (mysql_says(1040, "Too many connections"), "no free connection"),
        (mysql_says(2002, "Can't connect to server on '127.0.0.1' (115)"), "connection refused"),
        (mysql_says(2002, "Can't connect to local server through socket '/nowhere' (2)"), "connection refused"),
        (mysql_says(2002, "Can't connect to server on 'h' (110)"), "no answer in time"),
        (mysql_says(2005, "Unknown server host 'h' (-2)"), "unknown host"),
        (mysql_says(2026, "SSL connection error: unknown error number"), "encryption was refused"),
        (mysql_says(2013, "Lost connection to server at 'handshake'"), "connection was lost"),
        (RuntimeError("something else with secret7"), "cannot connect: RuntimeError"),
    ],
)
def test_a_refusal_is_named_in_one_line_with_a_hint_and_without_the_password(error: Exception, says: str) -> None:
    explained = explain(error, "postgresql+asyncpg://u:***@h/db", URL)
    assert isinstance(explained, TargetError)
    assert explained.exit_code == Exit.TARGET
    assert says in explained.message
    assert explained.hint
    assert "\n" not in explained.message
    assert "secret7" not in explained.message


def test_a_missing_driver_is_named_with_what_to_install() -> None:
    explained = explain(ModuleNotFoundError("No module named 'asyncmy'", name="asyncmy"), "mysql+asyncmy://h/db")
    assert isinstance(explained, ConfigError)
    assert "poolctl[mysql]" in explained.hint


def test_a_driver_is_installed_by_the_name_of_its_package() -> None:
    explained = explain(ModuleNotFoundError("No module named 'MySQLdb'", name="MySQLdb"), "mysql+mysqldb://h/db")
    assert "pip install 'mysqlclient'" in explained.hint


@pytest.mark.parametrize(
    "says",
    [
        "connect() got an unexpected keyword argument 'sslmode'",
        "'sslmode' is an invalid keyword argument for connect()",
    ],
)
def test_a_url_parameter_that_the_driver_does_not_know_is_named(says: str) -> None:
    explained = explain(TypeError(says), "postgresql+asyncpg://h")
    assert isinstance(explained, UsageError)
    assert "'sslmode'" in explained.message
    assert "ssl=require" in explained.hint


def test_our_own_errors_pass_through() -> None:
    own = UsageError("a", "b")
    assert explain(own, "x") is own


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (ConnectionResetError(), True),
        (asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"), True),
        (asyncpg.AdminShutdownError("terminating connection due to administrator command"), True),
        (OperationalError("q", {}, Exception("x"), connection_invalidated=True), True),
        (mysql_says(2002, "Can't connect to server on 'h' (115)"), True),
        (mysql_says(1045, "Access denied for user"), False),
        (TimeoutError(), True),
        (asyncpg.InsufficientPrivilegeError("permission denied for view pg_stat_activity"), False),
        (asyncpg.UndefinedTableError('relation "pg_stat_activity" does not exist'), False),
    ],
)
def test_a_lost_connection_is_told_from_a_refused_query(error: Exception, lost: bool) -> None:
    assert is_connection_loss(error) is lost


def test_a_full_server_is_busy_and_a_dead_one_is_not() -> None:
    assert is_busy(asyncpg.TooManyConnectionsError("sorry, too many clients already"))
    assert not is_busy(ConnectionRefusedError())
