"""Live view: what a run is doing, while it does it, on stderr.

In: `analysis.live.Progress`, several a second, from one thread. Out: a screen that renews itself where there is a
terminal, a line every few seconds where there is none, nothing where nobody wants to hear it. Computes nothing.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from poolctl.analysis.live import Progress
from poolctl.report.chart import area, stretch
from poolctl.units import format_rate, format_seconds

LINE_EVERY_S = 5.0
"""Seconds between lines without a terminal."""
PAST = 600
"""States that are remembered for the strips; beyond it every second one is forgotten."""


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

    def phase(self, name: str) -> None:
        """Show what is being done now that the load is over."""


def open_view(
    stream: TextIO | None, title: str, capacity: int | None, *, terminal: bool, color: bool, quiet: bool
) -> View:
    """Return the view that fits `stream`; `capacity`: the most connections (None: unknown)."""
    if quiet or stream is None:
        return View()
    return Screen(stream, title, capacity, color=color) if terminal else Lines(stream, title)


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
        self.phase(line(progress))

    def phase(self, name: str) -> None:
        """Write a line."""
        with contextlib.suppress(OSError):  # nobody reads it any more: no reason to end the run
            self._stream.write(f"{self._title}: {name}\n")
            self._stream.flush()


def line(progress: Progress) -> str:
    """Return the state in one line."""
    p = progress
    if not p.arrivals:
        return p.phase
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
    """A few lines that renew themselves, and are gone when the run is over."""

    def __init__(
        self, stream: TextIO, title: str, capacity: int | None, *, color: bool, width: int | None = None
    ) -> None:
        self._title = title
        self._capacity = capacity
        self._past: list[Progress] = []
        self._console = Console(
            file=stream,
            width=width,
            force_terminal=True,
            color_system="standard" if color else None,
            no_color=not color,
            highlight=False,
            markup=False,
            emoji=False,
        )
        # Drawn by `update` alone: no thread of rich's own beside the run.
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)

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
        """Draw the newest state, and what came before it."""
        self._past.append(progress)
        if len(self._past) > PAST:
            self._past = self._past[::2]
        self._live.update(frame(self._title, self._past, self._capacity, self._console.width), refresh=True)

    def phase(self, name: str) -> None:
        """Draw the last state under another name."""
        if self._past:
            self.update(replace(self._past[-1], phase=name))


LABEL, FACTS = 14, 20
"""Columns of a row's name, and of its numbers; the bars have the rest."""


def frame(title: str, past: list[Progress], capacity: int | None, width: int) -> RenderableType:
    """Return one frame; the last of `past` is now, `capacity` the most connections there can be (None: no limit)."""
    now, room = past[-1], max(10, width - LABEL - FACTS - 1)
    top = max(capacity or 0, *(p.checked_out + p.idle for p in past), 1)
    waiting = [float(p.waiting) for p in past]
    seen = max(1, min(room, round(room * now.elapsed_s / now.duration_s))) if now.duration_s else room
    limit = f" of {capacity}" if capacity is not None else ""
    peak = f", peak {max(waiting):,.0f}" if any(waiting) else ""
    lines = [
        _head(title, now, width),
        _row("checked out", f"{now.checked_out}{limit}").append_text(_bar(now, top, capacity, room)),
        _row("", f"{now.idle} idle, {now.overflow} overflow").append_text(
            _strip([float(p.checked_out) for p in past], top, seen, "green")
        ),
        _row("waiting", f"{now.waiting:,}{peak}").append_text(_strip(waiting, max(waiting), seen, "yellow")),
        _row("arrivals", f"{now.arrivals:,}, {format_rate(now.achieved_per_s)}").append_text(
            _strip([p.achieved_per_s for p in past], max(p.achieved_per_s for p in past), seen, "cyan")
        ),
        _row("p95 lately", f"acquire {format_seconds(now.p95_acquire_s)}, hold {format_seconds(now.p95_hold_s)}"),
        _ends(now),
    ]
    for text in lines:  # a line that wrapped would make the frame jump
        text.no_wrap, text.overflow = True, "crop"
    return Group(*lines)


def _head(title: str, p: Progress, width: int) -> Text:
    text = Text(f"{title} ", style="bold")
    right = f" {p.phase}, {_time(p)}"
    room = max(10, width - len(text) - len(right))
    done = min(room, round(room * p.elapsed_s / p.duration_s)) if p.duration_s else 0
    text.append("━" * done, style="cyan not bold").append("─" * (room - done), style="dim not bold")
    return text.append(right, style="not bold")


def _row(name: str, facts: str) -> Text:
    return Text("  ").append(name.ljust(LABEL - 2), style="dim").append(facts.ljust(FACTS), style="bold").append(" ")


def _bar(p: Progress, top: int, capacity: int | None, room: int) -> Text:
    counts = (p.checked_out - p.overflow, p.checked_out, p.checked_out + p.idle)
    ends = [max(0, round(room * count / top)) for count in counts]
    full = capacity is not None and p.checked_out >= capacity
    text = Text("█" * ends[0], style="red" if full else "green")
    text.append("█" * (ends[1] - ends[0]), style="red" if full else "yellow")
    return text.append("▒" * (ends[2] - ends[1]) + "·" * (room - ends[2]), style="dim")


def _strip(values: list[float], top: float, room: int, style: str) -> Text:
    return Text(area(stretch(values, room), top)[0], style=style)


def _ends(p: Progress) -> Text:
    text = _row("done", f"{p.operations:,}")
    for trouble in _troubles(p):
        text.append(f"{trouble}  ", style="red")
    return text
