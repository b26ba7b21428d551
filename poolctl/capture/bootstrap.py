"""Bootstrap: capture for a whole process, begun and ended once, whoever asks. Standard library and SQLAlchemy only.

In: the run directory in which the process announces itself. Out: hooks in place, or gone without a trace. Several ways
in (an injected `sitecustomize`, an attach, the application's own call) may meet in one process: the first one captures.
"""

from __future__ import annotations

import sys
from pathlib import Path
from threading import RLock

from poolctl.capture.install import Installed, install
from poolctl.capture.recorder import Recorder
from poolctl.errors import InputError


class Guest:
    """Capture in this process. Made by `start`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.recorder = Recorder(directory)
        try:
            self.installed: Installed = install(self.recorder)
        except BaseException:
            self.recorder.close()
            raise

    def leave(self) -> None:
        """Take the hooks off and say in the ring that nothing more will come. The ring is its reader's to remove."""
        self.installed.remove()
        self.recorder.close()


def start(directory: Path | str) -> Guest:
    """Capture every pool of this process into a ring announced in `directory`; does nothing when that is done already.

    Raises InputError for a SQLAlchemy it does not know, OutputError when there is no room for the ring.
    """
    global _guest
    with _lock:
        if _guest is None:
            _refuse_unknown_library()
            _guest = Guest(Path(directory))
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
