"""A throwaway MariaDB: Debian's `mariadb-server`, run by hand in a directory of its own.

In: options of `mariadbd`. Out: a server on the loopback interface and a unix socket, gone with its block, and gone too
when the tests are killed. Nothing of the system's own server, its configuration or its data is touched.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

USER, PASSWORD, DATABASE = "tester", "maria-secret", "shop"
START_S = 60.0

SYNC_DRIVERS = ["pymysql", *(["mysqldb"] if importlib.util.find_spec("MySQLdb") else [])]
"""SQLAlchemy's names. mysqlclient (`mysqldb`) comes as source only: it is tested where it could be built, as in CI."""
ASYNC_DRIVERS = ["aiomysql", "asyncmy"]

_PLACES = "/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin:/bin"
_LEAN = (
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--bind-address=127.0.0.1",
)
_GRANTS = (
    f"CREATE DATABASE IF NOT EXISTS {DATABASE}",
    f"CREATE OR REPLACE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'",
    f"GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%'",
)


@dataclass
class MariaDB:
    """One that runs. Its user may do everything, so it can end other people's connections, too."""

    port: int
    socket: Path
    log: Path
    process: subprocess.Popen[bytes]

    def url(self, driver: str = "pymysql", dialect: str = "mysql") -> str:
        """Return SQLAlchemy's URL for a driver, one of `SYNC_DRIVERS` and `ASYNC_DRIVERS`."""
        return f"{dialect}+{driver}://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    def ask(self, statement: str) -> tuple[tuple[object, ...], ...]:
        """Return the rows of a statement, on a connection of its own."""
        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, database=DATABASE, autocommit=True
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(statement)
            return tuple(cursor.fetchall())

    def kill(self, thread: int) -> None:
        """End a connection as an administrator does, and wait until the server has forgotten it."""
        with contextlib.suppress(pymysql.err.OperationalError):  # gone meanwhile
            self.ask(f"KILL CONNECTION {thread}")
        until = time.monotonic() + 20
        while self.ask(f"SELECT 1 FROM information_schema.processlist WHERE id = {thread}"):
            assert time.monotonic() < until, f"connection {thread} does not end"
            time.sleep(0.01)


@contextlib.contextmanager
def running_mariadb(*options: str) -> Iterator[MariaDB]:
    """Run a server of your own, with more options (`--wait-timeout=2`); skip the test where there is none installed.

    Takes about four seconds. Tests that need no options share the session's (fixture `mariadb`).
    """
    server, install = (shutil.which(name, path=_PLACES) for name in ("mariadbd", "mariadb-install-db"))
    if server is None or install is None:
        pytest.skip("MariaDB is not installed (Debian: apt-get install mariadb-server)")
    with tempfile.TemporaryDirectory(prefix="poolctl-mariadb-") as name:
        directory = Path(name)
        user = ("--user=root",) if os.geteuid() == 0 else ()
        common = ("--no-defaults", *user, f"--datadir={directory / 'data'}")
        made = subprocess.run(
            [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"],
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert made.returncode == 0, made.stdout.decode() + made.stderr.decode()
        (directory / "init.sql").write_text("".join(f"{line};\n" for line in _GRANTS))
        with _started([server, *common, *_LEAN, f"--init-file={directory / 'init.sql'}", *options], directory) as up:
            yield up


@contextlib.contextmanager
def _started(command: list[str], directory: Path) -> Iterator[MariaDB]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    place, log = directory / "mariadb.sock", directory / "log"
    words = [*command, f"--socket={place}", f"--port={port}", f"--pid-file={directory / 'pid'}"]
    if leash := shutil.which("setpriv", path=_PLACES):  # whoever started it may be killed
        words = [leash, "--pdeathsig", "KILL", *words]
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    up = MariaDB(port, place, log, process)
    try:
        _wait_until_up(up)
        yield up
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(server: MariaDB) -> None:
    until = time.monotonic() + START_S
    while True:
        assert server.process.poll() is None, server.log.read_text()
        try:
            server.ask("select 1")
            return
        except pymysql.err.OperationalError:
            assert time.monotonic() < until, server.log.read_text()
            time.sleep(0.05)
