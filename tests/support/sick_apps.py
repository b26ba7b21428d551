"""Applications with planted defects, run as a user runs them, and what makes them ill.

In: a database URL. Out: a running application (or the command line for one), requests that bring its defects out, and
the lines on which they are. Everything is bound to the loopback interface and ended with its context.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy
from command import clean_environment

from poolctl.analysis.leases import Tables
from poolctl.trace.run import Run
from poolctl.watch.plan import WatchPlan
from poolctl.watch.session import observe

APPS = Path(__file__).parent / "apps"
PARTNER_S = 0.3
"""How long the other service takes."""


def line_of(app: str, name: str) -> int:
    """Return the line of an application that is marked with this name."""
    lines = (APPS / f"{app}.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {name}"))


def site_of(app: str, name: str, function: str | None = None) -> str:
    """Return the site of a planted defect, as reports show it."""
    return f"{APPS / app}.py:{line_of(app, name)} {function or name}"


@dataclass
class Patient:
    """One application: how it is started, and how it is asked."""

    app: str
    """sick_async or sick_sync."""
    port: int
    environment: dict[str, str]
    errors: list[str] = field(default_factory=list)
    """Requests that failed although nothing was wrong with them."""

    @property
    def command(self) -> list[str]:
        """Its command line."""
        return [sys.executable, "-m", "uvicorn", "--app-dir", str(APPS), f"{self.app}:app", *self.options]

    @property
    def options(self) -> list[str]:
        """Options of uvicorn's."""
        return ["--port", str(self.port), "--log-level", "warning"]

    @contextlib.contextmanager
    def running(self, command: list[str] | None = None, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run it until the end of the context."""
        process = subprocess.Popen(command or self.command, env=self.environment | more)
        try:
            self.wait_until_up()
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_until_up(self, limit_s: float = 60) -> None:
        """Wait until it answers."""
        until = time.monotonic() + limit_s
        while True:
            try:
                self.get("healthy")
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def get(self, path: str) -> bytes:
        """Ask one endpoint."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=20) as answer:
            content: bytes = answer.read()
            return content

    def suffer(self, seconds: float, *, leaks: int = 2, clients: int = 3) -> None:
        """Ask for every defect, among healthy requests, for a while."""
        until = time.monotonic() + seconds

        def client(paths: tuple[str, ...]) -> None:
            while time.monotonic() < until:
                for path in paths:
                    self.ask(path)

        for _ in range(leaks):
            self.ask("leak")
        threads = [threading.Thread(target=client, args=(("healthy", "idle", "nested"),)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        self.ask("blocked")
        for thread in threads:
            thread.join()

    def ask(self, path: str) -> None:
        """Ask one endpoint, and note when that failed."""
        try:
            self.get(path)
        except (OSError, urllib.error.HTTPError) as error:
            self.errors.append(f"{path}: {error}")


@contextlib.contextmanager
def patient(app: str, url: str, **more: str) -> Iterator[Patient]:
    """Return an application that is not running yet, and the service that it calls."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Partner)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = clean_environment(DATABASE_URL=url, PARTNER_PORT=str(server.server_port), **more)
    try:
        yield Patient(app, free_port(), environment)
    finally:
        server.shutdown()
        server.server_close()


def watch_while(sick: Patient, plan: WatchPlan, seconds: float = 2.5) -> Run:
    """Observe, and make the application suffer meanwhile; Ctrl-C ends the window when that is done."""

    def suffer() -> None:
        # Nothing is asked before the window has begun: what is under way then is seen as held since before.
        until = time.monotonic() + 120
        while not list(plan.runs_dir.glob("*/run.json")):
            if time.monotonic() > until:
                return  # `observe` has given up, and says why
            time.sleep(0.05)
        sick.wait_until_up()
        sick.suffer(seconds)
        os.kill(os.getpid(), signal.SIGINT)

    sufferer = threading.Thread(target=suffer)
    sufferer.start()
    run = observe(plan)
    sufferer.join()
    return run


def assert_defects_are_seen(found: Tables, app: str) -> None:
    """Every planted defect is at its own line, with what makes it one."""
    leases = found.leases
    by_line = {
        name: leases[leases["line"] == line_of(app, name)] for name in ("leak", "idle", "outer", "nested", "blocked")
    }
    assert all(len(rows) for rows in by_line.values()), {name: len(rows) for name, rows in by_line.items()}
    assert set(by_line["leak"]["end"]) == {"open"}
    assert (by_line["idle"]["idle_in_hold_s"].dropna() >= PARTNER_S * 0.9).all()
    assert (by_line["blocked"]["idle_in_hold_s"].dropna() >= 0.35).all()
    assert set(by_line["nested"]["task"]) <= set(by_line["outer"]["task"])
    functions = {"healthy", "leak", "idle", "nested", "blocked", "held since before capture began"}
    assert set(leases["function"]) <= functions


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def interpreters() -> dict[str, str]:
    """Return this machine's CPython interpreters that poolctl can attach to, by version; the running one always."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    roots = [Path.home() / ".pyenv" / "versions", Path("/usr/bin"), Path("/usr/local/bin")]
    for version in ("3.11", "3.12", "3.13", "3.14"):
        for root in roots:
            for path in sorted([*root.glob(f"{version}*/bin/python3"), root / f"python{version}"]):
                if version not in found and os.access(path, os.X_OK):
                    found[version] = str(path)
    return found


def lean_packages(directory: Path, executable: str = sys.executable) -> Path:
    """Return a directory from which any Python can import SQLAlchemy, and nothing of poolctl's."""
    packages = directory / "packages"
    packages.mkdir(exist_ok=True)
    for name in ("sqlalchemy", "typing_extensions.py", "greenlet"):
        source = Path(sqlalchemy.__file__).parents[1] / name
        compiled_for_us = name == "greenlet" and executable != sys.executable
        if source.exists() and not compiled_for_us and not (packages / name).exists():
            (packages / name).symlink_to(source)
    return packages


class _Partner(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(PARTNER_S)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""
