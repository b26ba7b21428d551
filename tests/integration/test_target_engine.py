"""Engines on real servers: opened with the settings asked for, named, checked; each refusal one clear line."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from poolctl.errors import ConfigError, Exit, PoolctlError, TargetError, UsageError
from poolctl.target import machine
from poolctl.target.embedded import EmbeddedPostgres
from poolctl.target.engine import check, describe, open_engine
from poolctl.target.spec import TargetSpec
from poolctl.trace.report import PoolSettings

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """URL (with %s for user and password) of a server that wants a password from everybody but postgres."""
    with EmbeddedPostgres() as server:
        rules = "local all postgres trust\nlocal all barred reject\nlocal all all scram-sha-256\n"
        (server.directory / "data" / "pg_hba.conf").write_text(rules)
        roles = "create role alice login password 'secret7'", "create role barred login", "select pg_reload_conf()"

        async def prepare() -> None:
            engine = create_async_engine(server.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
            async with engine.connect() as connection:
                for statement in roles:
                    await connection.execute(text(statement))

        asyncio.run(prepare())
        yield server.url.replace("postgres@", "%s@", 1)


def test_check_returns_what_the_server_says(postgres_url: str) -> None:
    info = check(TargetSpec(url=postgres_url))
    assert info.version is not None
    assert info.version.startswith("18")
    assert (info.max_connections, info.reserved_connections) == (100, 3)
    assert info.in_use is not None


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_good_password_is_taken_by_every_driver(guarded: str, driver: str) -> None:
    url = (guarded % "alice:secret7").replace("asyncpg", driver)
    assert check(TargetSpec(url=url)).max_connections == 100


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize(
    ("who", "database", "says"),
    [
        ("alice:wrong9", "postgres", "the password was not accepted"),
        ("alice", "postgres", "the password was not accepted"),
        ("alice:secret7", "nowhere", "no such database"),
        ("postgres", "nowhere", "no such database"),
        ("nobody_here:wrong9", "postgres", "the password was not accepted"),
        ("barred", "postgres", "does not allow this user|may not log in"),
    ],
)
def test_a_refused_login_is_one_line_without_the_password(
    guarded: str, driver: str, who: str, database: str, says: str
) -> None:
    url = (guarded % who).replace("asyncpg", driver).replace("/postgres?", f"/{database}?")
    assert_refused(url, says)


def assert_refused(url: str, says: str, kind: type[PoolctlError] = TargetError, **rest: Any) -> PoolctlError:
    with pytest.raises(kind, match=says) as refused:
        check(TargetSpec(url=url, **rest), patience_s=1.0)
    error = refused.value
    assert "\n" not in error.message
    assert error.hint
    assert error.exit_code == (Exit.TARGET if kind is TargetError else Exit.USAGE)
    assert not any(secret in error.message + error.hint for secret in ("secret7", "wrong9"))
    return error


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_no_such_role_is_named(postgres_url: str, driver: str) -> None:
    url = postgres_url.replace("asyncpg", driver).replace("postgres@", "nobody_here:wrong9@")
    assert_refused(url, "no such role")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def port_without_ssl() -> Iterator[int]:
    """A port that answers `N` to a request for SSL, as PostgreSQL without SSL does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(8)
                    client.sendall(b"N")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_an_unreachable_server_is_named_for_what_it_is(driver: str, silent_port: int, port_without_ssl: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    family = f"postgresql+{driver}://u:secret7@"
    ssl = "ssl" if driver == "asyncpg" else "sslmode"
    assert_refused(f"{family}127.0.0.1:{port}/db", "connection refused")
    assert_refused(f"{family}localhost:{port}/db", "connection refused")
    assert_refused(f"{family}no-such-host.invalid/db", "unknown host", yes=True)
    assert_refused(f"{family}127.0.0.1:{silent_port}/db", "no answer in time")
    assert_refused(f"{family}127.0.0.1:{port_without_ssl}/db?{ssl}=require", "does not speak SSL")
    assert_refused(f"{family}/db?host=/nowhere-at-all", "connection refused")


def test_a_host_elsewhere_is_not_even_resolved_without_yes() -> None:
    error = assert_refused("postgresql+asyncpg://u:secret7@no-such-host.invalid/db", "not this machine", UsageError)
    assert "--yes" in error.hint


@pytest.mark.parametrize(
    ("url", "says", "hint"),
    [
        ("postgresql://u:secret7@h/db", "names no driver", "postgresql+asyncpg://"),
        ("postgres://u:secret7@h/db", "names no driver", "postgresql+asyncpg://"),
        ("mysql://u:secret7@h/db", "names no driver", "mysql+asyncmy://"),
        ("sqlite:///x.db", "names no driver", "sqlite+aiosqlite://"),
        ("postgresql+psycopg2://u:secret7@h/db", "is a sync one", "postgresql+asyncpg://"),
        ("mysql+pymysql://u:secret7@h/db", "is a sync one", "mysql+asyncmy://"),
        ("postgresql+nothing://u:secret7@h/db", "knows no driver", "postgresql+asyncpg://"),
        ("u:secret7@h/db", "cannot read 'u:.*@h/db' as a database URL", "percent-encode"),
        ("postgresql+asyncpg://u:secret7@h:port/db", "cannot read", "percent-encode"),
        ("postgresql+asyncpg://u:secret7@127.0.0.1/db?sslmode=require", "URL parameter 'sslmode'", "ssl=require"),
    ],
)
def test_a_url_that_cannot_work_is_a_usage_error_naming_the_one_to_use(url: str, says: str, hint: str) -> None:
    assert hint in assert_refused(url, says, UsageError).hint


def test_a_missing_driver_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncmy", None)
    assert "poolctl[mysql]" in assert_refused("mysql+asyncmy://u:secret7@127.0.0.1/db", "asyncmy", ConfigError).hint


def test_sqlite_is_checked_without_a_server(tmp_path: Path) -> None:
    assert check(TargetSpec(url=f"sqlite+aiosqlite:///{tmp_path}/x.db")).max_connections is None
    assert_refused("sqlite+aiosqlite:////nowhere/x.db", "no such database")


def test_the_engine_has_the_settings_asked_for_and_its_sessions_the_name(postgres_url: str) -> None:
    spec = TargetSpec(
        url=postgres_url, pool_size=1, max_overflow=0, pool_timeout_s=0.1, pool_recycle_s=60, pre_ping=True
    )

    async def use() -> None:
        engine = await open_engine(spec)
        info = describe(engine)
        assert (info.dialect, info.driver, info.pool_class) == ("postgresql", "asyncpg", "AsyncAdaptedQueuePool")
        assert info.settings == PoolSettings(1, 0, 0.1, 60, True, False)
        async with engine.connect() as connection:
            assert (await connection.execute(text("show application_name"))).scalar() == "poolctl-load"
            with pytest.raises(PoolTimeoutError):
                await engine.connect()
        await engine.dispose()

    asyncio.run(use())


def test_psycopg_sessions_have_the_name_unless_the_url_gives_one(postgres_url: str) -> None:
    async def name(url: str) -> Any:
        engine = await open_engine(TargetSpec(url=url.replace("asyncpg", "psycopg")))
        async with engine.connect() as connection:
            shown = (await connection.execute(text("show application_name"))).scalar()
        await engine.dispose()
        return shown

    assert asyncio.run(name(postgres_url)) == "poolctl-load"
    assert asyncio.run(name(f"{postgres_url}&application_name=theirs")) == "theirs"


def test_pool_settings_on_a_pool_without_them_are_refused() -> None:
    with pytest.raises(UsageError, match="StaticPool has no pool_size"):
        asyncio.run(open_engine(TargetSpec(url="sqlite+aiosqlite://", pool_size=3)))


def test_an_embedded_target_that_is_not_running_is_refused() -> None:
    with pytest.raises(UsageError, match="not running"):
        asyncio.run(open_engine(TargetSpec()))


@pytest.fixture
def their_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> Iterator[str]:
    """An application whose engine names its own sessions and counts its connections."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "their_service.py").write_text(
        "import asyncpg\n"
        "from sqlalchemy import event\n"
        "from sqlalchemy.ext.asyncio import create_async_engine\n"
        "opened = []\n"
        "async def credentials():\n"
        f"    return await asyncpg.connect(host={postgres_url.split('host=')[1]!r}, user='postgres',\n"
        "                                 server_settings={'application_name': 'theirs'})\n"
        "engine = create_async_engine('postgresql+asyncpg://', async_creator=credentials, pool_size=2)\n"
        "event.listen(engine.sync_engine, 'connect', lambda *_: opened.append(1))\n"
    )
    yield "their_service:engine"
    sys.modules.pop("their_service", None)


def test_an_applications_engine_keeps_its_creator_its_name_and_its_listeners(their_app: str) -> None:
    async def use() -> None:
        engine: AsyncEngine = await open_engine(TargetSpec(engine=their_app, pool_size=1, max_overflow=0))
        assert describe(engine).settings.pool_size == 1
        async with engine.connect() as connection:
            assert (await connection.execute(text("show application_name"))).scalar() == "theirs"
        await engine.dispose()

    asyncio.run(use())
    assert sys.modules["their_service"].opened == [1]


def test_checking_an_applications_engine_goes_through_its_creator_and_leaves_its_pool_alone(their_app: str) -> None:
    assert check(TargetSpec(engine=their_app, pool_size=7)).max_connections == 100
    theirs = sys.modules["their_service"]
    assert theirs.opened == [1]
    assert theirs.engine.sync_engine.pool.checkedin() == 0
    assert describe(theirs.engine).settings.pool_size == 2


def test_a_server_on_this_machine_has_this_machines_cores(postgres_url: str) -> None:
    assert check(TargetSpec(url=postgres_url)).cores == machine.cores()
