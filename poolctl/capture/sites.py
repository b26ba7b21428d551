"""Site: the application's frame that asked. Standard library only.

In: the running thread's frames, and on the other side of SQLAlchemy's greenlet the frames of the task that awaits.
Out: a code object with an instruction offset, and once for each such place the file, line, function and stack.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any

APP, SKIP, STOP, INSIDE = 0, 1, 2, 3
"""What a frame is: the application's; between the application and us; beyond it; `run_sync` and the like, whose
application frames are inside the greenlet."""

SKIPPED = frozenset(
    {"sqlalchemy", "sqlmodel", "flask_sqlalchemy", "contextlib", "greenlet", "asyncio", "uvloop", "_pytest_greenlet"}
) | {"fastapi", "starlette", "anyio", "concurrent", "functools", "_asyncio"}
"""Top-level modules that are never the ones that asked."""

_STOPS = frozenset(
    {"asyncio.events", "asyncio.runners", "asyncio.base_events", "threading", "concurrent.futures.thread"}
)
_DEPTH = 64

Frames = tuple[tuple[str, int, str], ...]


class Walker:
    """Finds the asking frame; remembers what each code object is, so that a walk costs an attribute a frame.

    `skip` names further modules (with their submodules) that are never the ones that asked.
    """

    def __init__(self, skip: tuple[str, ...] = ()) -> None:
        self._skip = tuple((*skip, "poolctl.capture"))
        self._what: dict[int, int] = {}
        self._alive: list[CodeType] = []
        self._getcurrent: Any = None

    def find(self, depth: int) -> FrameType | None:
        """Return the application's frame that asked; None when there is none. `depth` frames up are known not to be it."""
        frame: FrameType | None = sys._getframe(depth + 1)
        awaiting = self.awaiting()
        if awaiting is None:
            return self._outward(frame)
        if self._what.get(id(awaiting.f_code), -1) == SKIP or self._classify(awaiting) == SKIP:
            return self._outward(awaiting)
        return self._outward(frame) or self._outward(awaiting)  # run_sync, or the application's own greenlet_spawn

    def awaiting(self) -> FrameType | None:
        """Return the frame that awaits SQLAlchemy's greenlet in which we run; None outside of one."""
        getcurrent = self._getcurrent
        if getcurrent is None:
            greenlet = sys.modules.get("greenlet")  # never imported by us: without it there is nothing to cross
            if greenlet is None:
                return None
            getcurrent = self._getcurrent = greenlet.getcurrent
        current = getcurrent()
        parent = current.parent
        if parent is None or not getattr(current, "__sqlalchemy_greenlet_provider__", False):
            return None
        spawner = parent.gr_frame
        return spawner.f_back if spawner is not None else None

    def stack(self, frame: FrameType | None) -> Frames:
        """Return (file, line, function) of `frame` and outward, to the event loop or the thread's start."""
        frames: list[tuple[str, int, str]] = []
        while frame is not None and len(frames) < _DEPTH:
            what = self._classify(frame)
            if what == STOP:
                break
            if what == APP:
                frames.append(place(frame))
            frame = frame.f_back
        return tuple(frames)

    def _outward(self, frame: FrameType | None) -> FrameType | None:
        what_of = self._what.get
        for _ in range(_DEPTH):
            if frame is None:
                return None
            what = what_of(id(frame.f_code), -1)
            if what == -1:
                what = self._classify(frame)
            if what == APP:
                return frame
            if what == STOP:
                return None
            frame = frame.f_back
        return None

    def _classify(self, frame: FrameType) -> int:
        code = frame.f_code
        known = self._what.get(id(code))
        if known is not None:
            return known
        if len(self._alive) >= 65536:  # code made at run time, again and again: start over rather than grow
            self._what.clear()
            self._alive.clear()
        what = self._look(code, frame.f_globals.get("__name__"))
        self._alive.append(code)  # first: an id is only good while its object lives
        self._what[id(code)] = what
        return what

    def _look(self, code: CodeType, module: str | None) -> int:
        if module is None:  # SQLAlchemy's generated functions have bare globals: `<string>` in 2.0
            return SKIP if code.co_filename.startswith("<") else APP
        if module in _STOPS:
            return STOP
        if module.startswith("sqlalchemy.") and code.co_name == "run_sync":
            return INSIDE
        if module.partition(".")[0] in SKIPPED or module.startswith(self._skip):
            return SKIP
        return SKIP if code.co_filename.startswith("<sqlalchemy") else APP


def place(frame: FrameType) -> tuple[str, int, str]:
    """Return (file, line, function) of a frame."""
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname
