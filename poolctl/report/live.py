"""Live view: what a run is doing, while it does it, on stderr.

In: `analysis.live.Progress`, several a second, from one thread. Out: a screen that renews itself where there is a
terminal, a line every few seconds where there is none, nothing where nobody wants to hear it. Computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from poolctl.analysis.live import Progress
from poolctl.report.chart import area, stretch
from poolctl.units import format_rate, format_seconds

LINE_EVERY_S = 5.0
"""Seconds between lines without a terminal."""
FRAME_S = 0.1
"""Shortest time between two frames."""


class View:
    """A view that shows nothing, and what the others have in common."""

    def __enter__(self) -> View:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def update(self, progress: Progress) -> None:
        """Show the newest state."""


def open_view(stream: TextIO | None, title: str, *, terminal: bool, color: bool, quiet: bool) -> View:
    """Return the view that fits `stream`; `title` names what is running."""
    if quiet or stream is None:
        return View()
    return Screen(stream, title, color=color) if terminal else Lines(stream, title)


class Lines(View):
    """One line every few seconds, and one when the phase changes."""

    def __init__(self, stream: TextIO, title: str) -> None:
        self._stream = stream
        self._title = title
        self._next_s = 0.0
        self._phase = ""

    def update(self, progress: Progress) -> None:
        """Write a line when it is time for one."""
        if progress.phase == self._phase and progress.elapsed_s < self._next_s:
            return
        self._phase = progress.phase
        self._next_s = progress.elapsed_s + LINE_EVERY_S
        try:
            self._stream.write(f"{self._title}: {line(progress)}\n")
            self._stream.flush()
        except OSError:  # nobody reads it any more: no reason to end the run
            self._next_s = float("inf")


def line(progress: Progress) -> str:
    """Return the state in one line."""
    p = progress
    parts = [
        f"{p.phase}, {_time(p)}",
        f"{p.arrivals:,} arrivals ({format_rate(p.achieved_per_s)})",
        f"checked out {p.checked_out}, overflow {p.overflow}, waiting {p.waiting}",
        f"p95 acquire {format_seconds(p.p95_acquire_s)}, hold {format_seconds(p.p95_hold_s)}",
        *_troubles(p),
    ]
    return " · ".join(parts)


def _time(p: Progress) -> str:
    return f"{p.elapsed_s:.0f} s" + (f" of {format_seconds(p.duration_s)}" if p.duration_s else "")


def _troubles(p: Progress) -> list[str]:
    counts = (("timed out", p.timed_out), ("failed", p.failed), ("skipped", p.skipped))
    return [f"{count:,} {name}" for name, count in counts if count]


class Screen(View):
    """Ten lines that renew themselves, and are gone when the run is over."""

    def __init__(self, stream: TextIO, title: str, *, color: bool, width: int | None = None) -> None:
        self._title = title
        self._console = Console(
            file=stream,
            width=width,
            force_terminal=True,
            no_color=not color,
            highlight=False,
            markup=False,
            emoji=False,
        )
        # Drawn by `update` alone: no thread of rich's own beside the run.
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._drawn_s = -1.0

    def __enter__(self) -> View:
        """Hide the cursor."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the view away and show the cursor again, also after an interrupt."""
        self._live.stop()

    def update(self, progress: Progress) -> None:
        """Draw, unless the last frame is too fresh."""
        if 0 <= progress.elapsed_s - self._drawn_s < FRAME_S:
            return
        self._drawn_s = progress.elapsed_s
        self._live.update(frame(self._title, progress, self._console.width), refresh=True)
