"""A real PgBouncer of a test's own: its ini, its log, a port of the loopback interface, before an embedded PostgreSQL.

In: an EmbeddedPostgres and settings. Out: URLs for an application and for the admin console, and the log's path. It may
be restarted. PgBouncer refuses to run as root: then it runs as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

import pytest

from poolctl.target.embedded import EmbeddedPostgres

UP_S = 60.0


class PgBouncer:
    """`with PgBouncer(postgres, default_pool_size=2) as proxy: … proxy.url, proxy.console, proxy.log`."""

    def __init__(self, postgres: EmbeddedPostgres, **settings: object) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="poolctl-pgbouncer-"))
        self.log = self.directory / "pgbouncer.log"
        self.port = _free_port()
        self._host = postgres.url.split("host=")[1]
        self._settings = {"pool_mode": "transaction", "default_pool_size": 20, "max_client_conn": 200, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What an application connects to. With asyncpg it has to name its prepared statements anew each time."""
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def console(self) -> str:
        """The admin console."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/pgbouncer"

    def __enter__(self) -> PgBouncer:
        ini = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "logfile": self.log,
            "pidfile": self.directory / "pid",
            "admin_users": "postgres",
            "ignore_startup_parameters": "extra_float_digits,options",
            **self._settings,
        }
        if ini["auth_type"] == "any":  # everybody is let in, as the user that the database's line names
            database = f"postgres = host={self._host} dbname=postgres user=postgres"
        text = f"[databases]\n{database}\n[pgbouncer]\n" + "".join(f"{key} = {value}\n" for key, value in ini.items())
        (self.directory / "pgbouncer.ini").write_text(text)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
        if program is None:
            pytest.skip("pgbouncer is not installed")
        words = [program, "-q", str(self.directory / "pgbouncer.ini")]
        # Whoever started it may be killed; but the kernel means the thread, and those of a test end before it does.
        leash = shutil.which("setpriv") if threading.current_thread() is threading.main_thread() else None
        if leash:
            words = [leash, "--pdeathsig", "KILL", *words]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user="nobody" if os.geteuid() == 0 else None,
            start_new_session=True,
        )
        until = time.monotonic() + UP_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    said = self.log.read_text(errors="replace")[-500:] if self.log.exists() else "nothing"
                    raise AssertionError(f"PgBouncer did not start: {said}") from None
                time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it at once (SIGTERM: its "fast exit") and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Stop it, dropping every client, and start it again on the same port."""
        self.stop()
        self.start()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
