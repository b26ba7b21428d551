"""Log fields: where a JSON line keeps its message, time, process, thread and task.

In: the object of one line, as python-json-logger, structlog, loguru, ECS, Google Cloud and containers write it.
Out: single values by role. Knows nothing of pools.
"""

from __future__ import annotations

import json
from typing import Any

Fields = dict[str, Any]

ROLES: dict[str, tuple[str, ...]] = {
    "message": ("message", "msg", "event", "@message", "record.message", "textPayload", "body", "text", "log"),
    "time": (
        "asctime",
        "timestamp",
        "@timestamp",
        "time",
        "ts",
        "created",
        "datetime",
        "date",
        "record.time.timestamp",
        "record.time.repr",
        "@t",
        "t",
    ),
    "process": ("process", "pid", "process_id", "processId", "process.pid", "record.process.id", "processName"),
    "thread": ("thread", "thread_id", "threadId", "process.thread.id", "record.thread.id", "threadName", "thread_name"),
    "task": ("taskName", "task_name", "task"),
    "logger": ("name", "logger", "logger_name", "loggerName", "log.logger", "record.name"),
    "trace": ("trace_id", "otelTraceID", "trace.id", "traceId", "dd.trace_id"),
    "context": ("http.route", "route", "endpoint", "transaction", "operation"),
}
"""Keys by role, the likeliest first; a dot is a nested object, or a key that holds one."""


def object_of(text: str) -> tuple[str, Fields] | None:
    """Return what stands before a JSON object that ends the line, and the object; None: there is none."""
    start = text.find("{")
    if start < 0 or not text.rstrip().endswith("}"):
        return None
    try:
        fields = json.loads(text[start:])
    except ValueError:
        return None
    if not isinstance(fields, dict) or not fields:
        return None
    inner = fields.get("jsonPayload")
    return text[:start], {**fields, **inner} if isinstance(inner, dict) else fields


def field(fields: Fields, role: str) -> Any:
    """Return the value of a role, or None. Objects are no values."""
    for name in ROLES[role]:
        value = fields.get(name)
        if value is None and "." in name:
            value = _nested(fields, name)
        if value is not None and not isinstance(value, dict | list):
            return value
    return None


def _nested(fields: Fields, name: str) -> Any:
    value: Any = fields
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
