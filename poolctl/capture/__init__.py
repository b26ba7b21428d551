"""The guest: what pools and connections do inside an application, into shared memory.

Standard library and SQLAlchemy only. In: SQLAlchemy's classes, wrapped. Out: records and names (`poolctl.trace`).
Knows nothing of who reads them, never raises into the application, never does I/O on its path.
"""

import sys
import types
from typing import Any

from poolctl.uncompiled import load

load("poolctl.capture.state", "poolctl.capture.core")  # before those below import them

from poolctl.capture.in_code import Attached, attach  # noqa: E402
from poolctl.capture.install import Installed, install  # noqa: E402
from poolctl.capture.recorder import Recorder  # noqa: E402
from poolctl.capture.scope import scope  # noqa: E402

__all__ = ["Attached", "Installed", "Recorder", "attach", "install", "scope"]


class _Callable(types.ModuleType):
    """This package, which one may also call: `poolctl.capture(engine)`."""

    def __call__(self, engine: Any = None, **options: Any) -> Attached:
        """The same as `poolctl.attach`."""
        return attach(engine, **options)


sys.modules[__name__].__class__ = _Callable
