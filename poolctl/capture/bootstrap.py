"""Bootstrap: capture for a whole process, begun and ended once, whoever asks. Standard library and SQLAlchemy only.

In: the run directory in which the process announces itself. Out: hooks in place, or gone without a trace. Several ways
in (an injected `sitecustomize`, an attach, the application's own call) may meet in one process: the first one captures.

A guest whose reader is gone (poolctl was killed) leaves by itself: it looks at the reader's promise in its ring with
one lease of many. No thread, no timer.
"""

from __future__ import annotations

import sys
from pathlib import Path
from threading import RLock

from poolctl.capture.adopt import adopt
from poolctl.capture.install import Installed, install
from poolctl.capture.recorder import Recorder
from poolctl.clock import NS, monotonic_ns
from poolctl.errors import InputError

FIRST_PROMISE_NS = 60 * NS
"""How long a guest waits for its first reader."""


class Guest:
    """Capture in this process. Made by `start`."""

    def __init__(self, directory: Path, *, forever: bool) -> None:
        self.directory = directory
        self.recorder = Recorder(directory)
        self._forever = forever
        self._promise_begins()
        try:
            self.installed: Installed = install(self.recorder)
        except BaseException:
            self.recorder.close()
            raise
        self.recorder.forked.append(self._promise_begins)
        self.installed.watch.on_sample.append(self._look_for_reader)
        self.adopted = adopt(self.installed.watch)
        """How many connections were out already."""

    @property
    def watched(self) -> bool:
        """Whether there is somebody who promised to read."""
        until: int = self.recorder.ring.promise[0]
        return until > monotonic_ns()

    def leave(self) -> None:
        """Take the hooks off and say in the ring that nothing more will come. The ring is its reader's to remove."""
        self.installed.remove()
        self.recorder.close()

    def _promise_begins(self) -> None:
        self.recorder.ring.promise[0] = monotonic_ns() + FIRST_PROMISE_NS

    def _look_for_reader(self) -> None:
        if not self._forever and not self.watched:
            stop()
            self.recorder.ring_path.unlink(missing_ok=True)


def start(directory: Path | str, *, forever: bool = False) -> Guest:
    """Capture every pool of this process into a ring announced in `directory`; does nothing when that is done already.

    What was announced elsewhere for a reader that is gone by now is given up first; `forever`: without a reader, too.
    Raises InputError for a SQLAlchemy it does not know, and when somebody else is watching; OutputError when there is
    no room for the ring.
    """
    global _guest
    with _lock:
        if _guest is not None and _guest.directory != Path(directory):
            if _guest.watched:
                raise InputError("another poolctl is watching this process", "wait until its window is over")
            abandoned = _guest
            stop()
            abandoned.recorder.ring_path.unlink(missing_ok=True)
        if _guest is None:
            _refuse_unknown_library()
            _guest = Guest(Path(directory), forever=forever)
        return _guest


def stop() -> bool:
    """End what `start` began; False when there is nothing to end."""
    global _guest
    with _lock:
        guest, _guest = _guest, None
        if guest is not None:
            guest.leave()
        return guest is not None


def present() -> Guest | None:
    """Return this process's capture; None when it has none."""
    return _guest


def _refuse_unknown_library() -> None:
    version = str(getattr(sys.modules.get("sqlalchemy"), "__version__", "unknown"))
    if not version.startswith("2."):
        raise InputError(f"capture needs SQLAlchemy 2, this is {version}", "watch it through its log (--log FILE)")


_lock = RLock()
_guest: Guest | None = None
