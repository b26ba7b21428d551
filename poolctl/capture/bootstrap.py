"""Bootstrap: capture for a whole process, begun and ended once, whoever asks. Standard library and SQLAlchemy only.

In: the run directory in which the process announces itself. Out: hooks in place, or gone without a trace. Several ways
in (an injected `sitecustomize`, an attach, the application's own call) may meet in one process: the first one captures.

A guest whose reader is gone (poolctl was killed) leaves by itself: it looks at the reader's promise in its ring with
one lease of many. No thread, no timer.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from pathlib import Path
from threading import RLock
from typing import Any

from poolctl.capture.adopt import adopt, retell
from poolctl.capture.install import Installed, install
from poolctl.capture.recorder import Recorder
from poolctl.clock import NS, monotonic_ns
from poolctl.errors import InputError
from poolctl.trace import leftovers

FIRST_PROMISE_NS = 60 * NS
"""How long a guest waits for its first reader."""


class Guest:
    """Capture in this process. Made by `start`."""

    def __init__(self, directory: Path, *, forever: bool, dialects: weakref.WeakSet[Any] | None) -> None:
        self.directory = directory
        self.recorder = Recorder(directory)
        self.forever = forever
        """It captures for whoever comes, not for a reader that is there."""
        self.dialects = dialects
        """Those of the engines to watch; None: all."""
        self._reader = 0
        self._promise_begins()
        try:
            self.installed: Installed = install(self.recorder, only=self._wanted)
        except BaseException:
            self.recorder.close()
            raise
        self.recorder.forked.append(self._forked)
        self.installed.watch.on_sample.append(self._look_for_reader)
        if forever:
            atexit.register(self._at_exit)
            leftovers.clear(directory)
        self.adopted = adopt(self.installed.watch)
        """How many connections were out already."""

    @property
    def watched(self) -> bool:
        """Whether there is somebody who promised to read."""
        until: int = self.recorder.ring.promise[0]
        return until > monotonic_ns()

    def leave(self) -> None:
        """Take the hooks off and say in the ring that nothing more will come. The ring is its reader's to remove."""
        atexit.unregister(self._at_exit)
        self.installed.remove()
        self.recorder.close()

    def withdraw(self) -> None:
        """Remove the ring, and the announcement to whoever comes: nobody is to. The names in a run are the run's."""
        if self.recorder.opened_by != os.getpid():
            return  # a forked child that had no room for its own: these are the parent's
        self.recorder.ring_path.unlink(missing_ok=True)
        if self.forever:
            self.recorder.names_path.unlink(missing_ok=True)

    def add(self, engine: Any) -> None:
        """Watch this engine, too; None: all from now on."""
        if engine is None:
            self.dialects = None
        elif self.dialects is not None:
            self.dialects.add(engine.dialect)
        pools = self.installed.watch.pools
        for key in [key for key, state in list(pools.items()) if not state.watched]:
            del pools[key]  # to be met anew
        adopt(self.installed.watch)

    def _wanted(self, pool: Any) -> bool:
        return self.dialects is None or pool._dialect in self.dialects  # the pool changes with dispose(), this stays

    def _at_exit(self) -> None:
        if not self.watched:  # a reader takes it away itself, when it has read to the end
            self.withdraw()
        leftovers.clear(self.directory)

    def _forked(self) -> None:
        """In a forked child; its siblings that ended left their rings."""
        self._promise_begins()
        if self.forever:
            leftovers.clear(self.directory)

    def _promise_begins(self) -> None:
        self.recorder.ring.promise[0] = 0 if self.forever else monotonic_ns() + FIRST_PROMISE_NS

    def _look_for_reader(self) -> None:
        if self.watched:
            reader = self.recorder.ring.promise[1]
            if self.forever and reader != self._reader:
                self._reader = reader
                retell(self.installed.watch)
        elif not self.forever:
            stop()
            self.withdraw()


def start(directory: Path | str, *, forever: bool = False, engine: Any = None) -> Guest:
    """Capture every pool of this process, or `engine`'s, into a ring announced in `directory`.

    Where this process has one already, it stays and takes `engine` in. One that was announced elsewhere, for a reader
    that is gone, is given up; one for whoever comes (`forever`) steps back until `stop`. Raises InputError for a
    SQLAlchemy it does not know, and when somebody else is watching; OutputError when there is no room for the ring.
    """
    global _guest
    with _lock:
        before = _guest
        if before is not None and before.directory != Path(directory):
            if before.watched:
                raise InputError("another poolctl is watching this process", "wait until its window is over")
            _refuse_unknown_library()
            _end(before)
            before.withdraw()
            if before.forever:
                _stepped_back.append(before)
        if _guest is None:
            _refuse_unknown_library()
            dialects = None if engine is None else weakref.WeakSet([engine.dialect])
            _guest = Guest(Path(directory), forever=forever, dialects=dialects)
        elif _guest.forever:
            _guest.add(engine)
        return _guest


def stop() -> bool:
    """End what `start` began, and let the guest that stepped back for it go on; False when there is nothing to end."""
    global _guest
    with _lock:
        guest = _guest
        if guest is None:
            return False
        _end(guest)
        if _stepped_back:
            earlier = _stepped_back.pop()
            _guest = Guest(earlier.directory, forever=True, dialects=earlier.dialects)
        return True


def _end(guest: Guest) -> None:
    global _guest
    _guest = None
    guest.leave()


def present() -> Guest | None:
    """Return this process's capture; None when it has none."""
    return _guest


def _refuse_unknown_library() -> None:
    version = str(getattr(sys.modules.get("sqlalchemy"), "__version__", "unknown"))
    if not version.startswith("2."):
        raise InputError(f"capture needs SQLAlchemy 2, this is {version}", "watch it through its log (--log FILE)")


def _unlock() -> None:
    """Whoever holds the lock is not here: in a forked child only the thread that forked is."""
    global _lock
    _lock = RLock()


_lock = RLock()
os.register_at_fork(after_in_child=_unlock)
_guest: Guest | None = None
_stepped_back: list[Guest] = []
