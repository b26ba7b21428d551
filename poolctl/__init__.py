"""poolctl: know, and get right, the database connection pool of a Python service.

Nothing heavy is imported here: `import poolctl` runs inside other people's processes.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, which is not worth its import here
if TYPE_CHECKING:
    from poolctl.capture import attach as attach

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import `poolctl.attach` and `poolctl.capture` when they are asked for."""
    if name in ("attach", "capture"):
        import poolctl.capture

        return poolctl.capture if name == "capture" else poolctl.capture.attach
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
