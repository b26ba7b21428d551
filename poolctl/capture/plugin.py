"""SQLAlchemy's plugin: `?plugin=poolctl` in the URL captures that engine.

In: the engine that `create_engine` or `create_async_engine` has made. Out: the same as `poolctl.attach(engine)`. A
directory that cannot be written is a warning: the application must start.
"""

from __future__ import annotations

import warnings
from typing import Any

from sqlalchemy.engine import CreateEnginePlugin
from sqlalchemy.engine.url import URL

from poolctl.capture.in_code import attach
from poolctl.errors import PoolctlError

DIRECTORY = "poolctl_run_dir"
"""The URL's parameter that says where the process announces itself."""


class PoolctlPlugin(CreateEnginePlugin):
    """Named `poolctl` among the entry points of group `sqlalchemy.plugins`."""

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        said = url.query.get(DIRECTORY)
        self._directory = said if isinstance(said, str) else None

    def update_url(self, url: URL) -> URL:
        """Leave our parameter away: the driver would not know it."""
        return url.difference_update_query([DIRECTORY])

    def engine_created(self, engine: Any) -> None:
        """Capture it."""
        try:
            attach(engine, directory=self._directory)
        except PoolctlError as error:
            warnings.warn(f"poolctl captures nothing: {error.message}", stacklevel=2)
