"""Shared by all tests: a real PostgreSQL, a real MariaDB, and in CI no silent skipping of what needs one.

With POOLCTL_TEST_UNCOMPILED set, the tests' own process runs the compiled modules as Python (`interpreted`).
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import hypothesis
import interpreted
import pytest

if os.environ.get("POOLCTL_TEST_UNCOMPILED"):
    interpreted.use()  # before anything here imports them; poolctl's own pytest plugin, which is earlier, does not

from mariadb import MariaDB, running_mariadb

from poolctl.target.embedded import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """An embedded PostgreSQL for the whole session: never stop it, never change its settings."""
    with EmbeddedPostgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: EmbeddedPostgres) -> str:
    """Its SQLAlchemy URL (asyncpg, unix socket)."""
    return postgres.url


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB for the whole session: never stop it, never change its settings (`running_mariadb` starts another)."""
    with running_mariadb() as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With POOLCTL_NO_SKIP set (CI), a skipped test of a real server fails, unless it is one that only root can run."""
    report = yield
    if report.skipped and os.environ.get("POOLCTL_NO_SKIP") and item.get_closest_marker("server"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if "root" not in reason:
            report.outcome = "failed"
            report.longrepr = f"{reason}: skipping is not allowed here (POOLCTL_NO_SKIP)"
    return report


# The same examples every time, so that a failure is of this change; `--hypothesis-profile explore` looks for new ones.
hypothesis.settings.register_profile("poolctl", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("explore", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("poolctl")
