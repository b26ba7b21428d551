"""The guest: what pools and connections do inside an application, into shared memory. Standard library and SQLAlchemy only.

In: SQLAlchemy's classes, wrapped. Out: records and names (`poolctl.trace`). Knows nothing of who reads them, never
raises into the application, never does I/O on its path.
"""

from poolctl.capture.install import Installed, install
from poolctl.capture.recorder import Recorder
from poolctl.capture.scope import scope

__all__ = ["Installed", "Recorder", "install", "scope"]
