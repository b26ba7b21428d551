"""poolctl: know, and get right, the database connection pool of a Python service.

Nothing heavy is imported here: `import poolctl` runs inside other people's processes.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, which is not worth its import here
if TYPE_CHECKING:
    from poolctl.capture import attach as attach
    from poolctl.capture import scope as scope

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import `poolctl.attach`, `poolctl.scope` and `poolctl.capture` when they are asked for."""
    if name in ("attach", "capture", "scope"):
        import poolctl.capture

        return poolctl.capture if name == "capture" else getattr(poolctl.capture, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
