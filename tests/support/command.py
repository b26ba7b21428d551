"""poolctl as a user runs it: a process with its own streams."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """How it ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of stderr."""
        return self.err.splitlines()


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without anything that could change what poolctl does."""
    unwanted = ("POOLCTL_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONWARNINGS")
    return {key: value for key, value in os.environ.items() if not key.startswith(unwanted)} | more


def poolctl(
    *arguments: str | Path, cwd: Path, environment: dict[str, str] | None = None, timeout: float = 120
) -> Result:
    """Run poolctl to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "poolctl", *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(**(environment or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())
