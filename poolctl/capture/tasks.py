"""Tasks: which asyncio task is running. Standard library only."""

from __future__ import annotations

import asyncio
from asyncio import tasks
from typing import Any

running: dict[Any, Any] = getattr(tasks, "_current_tasks", {})
"""By loop, the task it runs: `asyncio.current_task` without its calls, up to 3.13; empty where there is none."""
running_loop: Any = asyncio._get_running_loop
"""Return the loop that runs in this thread, None when none does."""


def current_task() -> Any:
    """Return the running task, None outside of one."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
