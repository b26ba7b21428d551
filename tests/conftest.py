"""Shared by all tests: a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from poolctl.target.embedded import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """An embedded PostgreSQL for the whole session; never stop it, never load its `postgres` database's settings."""
    with EmbeddedPostgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: EmbeddedPostgres) -> str:
    """Its SQLAlchemy URL (asyncpg, unix socket)."""
    return postgres.url
