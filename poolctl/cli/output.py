"""Where reports go: stdout, and the files named by `--report`.

In: settings. Out: text written whole or not at all. All that can be refused is refused before anything runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from poolctl.cli import streams
from poolctl.errors import OutputError
from poolctl.report import format_of, ready, render_all, render_comparison
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Report
from poolctl.trace.run import output_error, write_text

FILE_WIDTH = 120
"""Columns of a console report in a file."""
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file that GitHub shows as the summary of a step: with `--format github` it gets the tables."""


@dataclass(frozen=True, slots=True)
class Output:
    """A format for stdout, and any number of files."""

    format: str
    files: tuple[tuple[Path, str], ...] = ()
    """Path and format."""

    @classmethod
    def plan(cls, kind: str, files: Iterable[str], *, force: bool) -> Output:
        """Check everything that can be wrong with what was asked for. Raises UsageError and OutputError."""
        pairs = tuple((Path(name), format_of(Path(name))) for name in files)
        for path, _ in pairs:
            if path.is_dir() or not path.parent.is_dir():
                problem = "it is a directory" if path.is_dir() else f"there is no directory {path.parent}"
                raise OutputError(f"cannot write {path}: {problem}", "give the path of a file")
            if path.exists() and not force:
                raise OutputError(f"{path} is already there", "--force overwrites it")
            if not os.access(path.parent, os.W_OK):
                raise OutputError(f"cannot write {path}: no permission", "choose a directory you may write")
        for name in {kind, *(name for _, name in pairs)}:
            ready(name)
        return cls(kind, pairs)

    def deliver(self, reports: Sequence[Report]) -> None:
        """Write the files, then stdout: one report as it is, several as one document. Raises OutputError."""
        self._deliver(lambda kind, width, color: render_all(reports, kind, width=width, color=color))

    def deliver_comparison(self, comparison: Comparison) -> None:
        """Write the files, then stdout. Raises OutputError."""
        self._deliver(lambda kind, width, color: render_comparison(comparison, kind, width=width, color=color))

    def _deliver(self, text: Callable[[str, int, bool], str]) -> None:
        for path, kind in self.files:
            write_text(path, text(kind, FILE_WIDTH, False))
        streams.write(text(self.format, streams.width(), streams.wants_color(sys.stdout)))
        summary = os.environ.get(STEP_SUMMARY)
        if self.format == "github" and summary:
            _append(Path(summary), text("markdown", FILE_WIDTH, False))


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise output_error(path, error) from None
