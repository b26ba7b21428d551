"""Site: the application's frame that asked. Standard library only.

In: the running thread's frames, and on the other side of SQLAlchemy's greenlet the frames of the task that awaits.
Out: the first frame that is the application's, and where it stands.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any

SKIPPED = frozenset(
    [
        "sqlalchemy",
        "sqlmodel",
        "flask_sqlalchemy",
        "contextlib",
        "functools",
        "greenlet",
        "asyncio",
        "_asyncio",
        "uvloop",
        "anyio",
        "fastapi",
        "starlette",
        "concurrent",
    ]
)
"""Top-level modules that are never the ones that asked."""

_STOPS = frozenset(
    {"asyncio.events", "asyncio.runners", "asyncio.base_events", "threading", "concurrent.futures.thread"}
)
"""Where a task or a thread begins: what called these did not ask."""

_DEPTH = 64
_CODES = 65536

Place = tuple[str, int, str]
"""file, line, function"""


class Walker:
    """Finds the asking frame; remembers what each code object is, so that a walk costs a set look-up a frame.

    `skip` names further modules (with their submodules) that are never the ones that asked.
    """

    def __init__(self, skip: tuple[str, ...] = ()) -> None:
        self._skip = (*skip, "poolctl.capture")
        # Sets of ids: hashing a code object means hashing its bytecode. `_alive` keeps the ids good.
        self.skipped: set[int] = set()
        """ids of code objects that never ask."""
        self._asking: set[int] = set()
        self._others: dict[int, str] = {}
        self._alive: list[CodeType] = []
        self.getcurrent: Any = None
        """greenlet's, once somebody imported it and a walk came across."""

    def find(self, crossing: bool) -> FrameType | None:
        """Return the application's frame that asked; None when there is none. `crossing`: we may be in a greenlet."""
        if crossing:
            getcurrent = self.getcurrent or self._get_getcurrent()
            if getcurrent is not None:
                current = getcurrent()
                parent = current.parent
                if parent is not None and getattr(current, "__sqlalchemy_greenlet_provider__", False):
                    spawner = parent.gr_frame
                    if spawner is not None:
                        return self._across(spawner.f_back)
        return self._outward(sys._getframe(1))

    def stack(self, frame: FrameType | None) -> tuple[Place, ...]:
        """Return the application's frames from `frame` outward, to the event loop or the thread's start."""
        places: list[Place] = []
        while frame is not None and len(places) < _DEPTH:
            what = self._what(frame)
            if what == "stop":
                break
            if what == "asking":
                places.append(place(frame))
            frame = frame.f_back
        return tuple(places)

    def _across(self, awaiting: FrameType | None) -> FrameType | None:
        """Search from the frame that awaits the greenlet; with `run_sync` the application is inside of it as well."""
        if awaiting is not None and id(awaiting.f_code) not in self.skipped and self._what(awaiting) != "skipped":
            inside = self._outward(sys._getframe(2))
            if inside is not None:
                return inside
        return self._outward(awaiting)

    def _outward(self, frame: FrameType | None) -> FrameType | None:
        skipped = self.skipped
        while frame is not None:
            code = id(frame.f_code)
            if code not in skipped:
                if code in self._asking:
                    return frame
                what = self._what(frame)
                if what != "skipped":
                    return frame if what == "asking" else None if what == "stop" else self._outward(frame.f_back)
            frame = frame.f_back
        return None

    def _what(self, frame: FrameType) -> str:
        """Return what a frame is: `asking`, `skipped`, `stop`, or `inside` (SQLAlchemy's `run_sync`)."""
        code = frame.f_code
        key = id(code)
        if key in self._asking:
            return "asking"
        if key in self.skipped:
            return "skipped"
        if key in self._others:
            return self._others[key]
        if len(self._alive) >= _CODES:  # code made at run time, again and again: start over rather than grow
            for known in (self.skipped, self._asking, self._others, self._alive):
                known.clear()
        self._alive.append(code)
        what = self._look(code, frame.f_globals.get("__name__"))
        if what == "asking":
            self._asking.add(key)
        elif what == "skipped":
            self.skipped.add(key)
        else:
            self._others[key] = what
        return what

    def _look(self, code: CodeType, module: Any) -> str:
        if not isinstance(module, str):  # SQLAlchemy 2.0's generated functions are `<string>` with bare globals
            return "skipped" if code.co_filename.startswith("<") else "asking"
        if module in _STOPS:
            return "stop"
        if module.startswith("sqlalchemy.") and code.co_name == "run_sync":
            return "inside"
        if module.partition(".")[0] in SKIPPED or module.startswith(self._skip):
            return "skipped"
        return "skipped" if code.co_filename.startswith("<sqlalchemy") else "asking"

    def _get_getcurrent(self) -> Any:
        greenlet = sys.modules.get("greenlet")  # never imported by us: without it there is nothing to cross
        self.getcurrent = getattr(greenlet, "getcurrent", None)
        return self.getcurrent


def place(frame: FrameType) -> Place:
    """Return (file, line, function) of a frame."""
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname
