"""Side process: one side of `poolctl compare --ab`, in a process and an environment of its own.

In: how the side is run, the arguments of each run. Out: runs. The process lives as long as the comparison: a second of
imports is spent once a side and not once a run, so that more runs fit into the time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from poolctl.errors import Exit, PoolctlError, TargetError
from poolctl.trace.run import Run

CHILD = "import sys; from poolctl.cli.stint import serve; sys.exit(serve())"


@dataclass(frozen=True, slots=True)
class Variant:
    """One side: how it is run."""

    name: str
    options: tuple[str, ...] = ()
    """Of `poolctl loadtest`, after those of both sides."""
    directory: Path | None = None
    """A checkout; None: here."""
    python: str | None = None
    """The interpreter of its environment, with poolctl in it; None: this one."""

    @property
    def shown(self) -> str:
        """The side as a person may see it."""
        from poolctl.redact import scrub

        said = [" ".join(self.options), f"in {self.directory}" if self.directory else "", self.python or ""]
        return scrub(" ".join(part for part in said if part)) or "as it is"


class SideProcess:
    """A process that makes runs of one side. Raises PoolctlError when it cannot be started."""

    def __init__(self, variant: Variant, runs_dir: Path) -> None:
        self._variant = variant
        self._runs_dir = runs_dir
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed with it
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, or the one the user named
                [
                    variant.python or sys.executable,
                    "-P",
                    "-c",
                    CHILD,
                ],  # -P: a queue.py there hides no module of Python's
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                cwd=variant.directory,
                text=True,
            )
        except OSError as error:
            self._said.close()
            raise PoolctlError(
                f"{variant.name}: cannot run {variant.python}: {error.strerror}", "give the path of an interpreter"
            ) from None

    def run(self, arguments: list[str]) -> Run:
        """Make one run and return it. Raises PoolctlError with what the process said, and KeyboardInterrupt."""
        asked = [*arguments, *self._variant.options, "--quiet", "--runs-dir", str(self._runs_dir)]
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        start = self._said.seek(0, 2)
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        try:
            made = json.loads(answer)
        except ValueError:
            raise self._failure(self._process.wait(), 0) from None
        if made["code"] == Exit.INTERRUPTED:
            raise KeyboardInterrupt
        if made["path"] is None:
            raise self._failure(int(made["code"]), start)
        return Run(Path(made["path"]))

    def close(self) -> None:
        """Let the process end: when it is in a run, after that."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        self._process.wait()
        self._said.close()

    def _failure(self, code: int, start: int) -> PoolctlError:
        self._said.seek(start)
        err = self._said.read()
        lines = [line for line in err.splitlines() if line.strip()]
        said = next((line.partition("error: ")[2] for line in lines if line.startswith("error: ")), "")
        hint = next((line.partition("hint: ")[2] for line in lines if line.startswith("hint: ")), "")
        kind = TargetError if code == Exit.TARGET else PoolctlError
        if "No module named 'poolctl" in err:
            said = f"{self._variant.python or sys.executable} has no poolctl, or one that is too old"
            hint = "install this poolctl into that environment"
        return kind(f"{self._variant.name}: {said or (lines or ['no answer'])[-1]}", hint)
