"""The pytest plugin's door (`pytest --poolctl`): an option, a marker, and nothing else until the option is given.

pytest imports this module in every run of every suite that has poolctl installed: it imports nothing of its own.
"""

from __future__ import annotations

from typing import Any

MARKER = (
    "poolctl(*objectives, leaks=False, nested=False): with --poolctl, hold this test to objectives as "
    "'p95 wait < 50ms'; leaks=True, nested=True: accept them here"
)


def pytest_addoption(parser: Any) -> None:
    """Offer `--poolctl`."""
    group = parser.getgroup("poolctl", "connection pool")
    group.addoption(
        "--poolctl",
        action="store_true",
        help="Fail tests that leak, abandon or nest checkouts of SQLAlchemy connections, with the line that asked.",
    )


def pytest_configure(config: Any) -> None:
    """Register the marker; with `--poolctl`, begin to watch."""
    config.addinivalue_line("markers", MARKER)
    if config.getoption("--poolctl"):
        from poolctl.testing.session import Session

        config.pluginmanager.register(Session(config), "poolctl-session")
