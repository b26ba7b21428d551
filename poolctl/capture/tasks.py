"""Tasks: which asyncio task is running. Standard library only."""

from __future__ import annotations

import asyncio
import threading
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


def running_task() -> tuple[Any, int]:
    """Return the running task, and a number that tells it from all others; without a task, None and the thread's."""
    task = running.get(running_loop()) or current_task()
    return task, threading.get_ident() if task is None else id(task)
