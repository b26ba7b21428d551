"""Tasks: which asyncio task is running. Standard library only."""

from __future__ import annotations

import asyncio
import sys
from asyncio import tasks
from typing import Any

_current: dict[Any, Any] | None = getattr(tasks, "_current_tasks", None)
_running_loop: Any = getattr(asyncio, "_get_running_loop", None)


def _by_table() -> Any:
    """What `asyncio.current_task` does in 3.11, in Python, without its two calls; None outside of a loop."""
    return _current.get(_running_loop())  # type: ignore[union-attr]


def _by_call() -> Any:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no running loop
        return None


current_task = _by_table if sys.version_info < (3, 12) and _current is not None and _running_loop else _by_call
"""Return the running task, None outside of one."""
