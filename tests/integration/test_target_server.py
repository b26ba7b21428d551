"""ServerWatch: what a real server shows of its sessions, and how its loss is told from a hiccup."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection

from poolctl.errors import TargetError, UsageError
from poolctl.target import probes
from poolctl.target.embedded import EmbeddedPostgres
from poolctl.target.server import ServerWatch
from poolctl.target.spec import TargetSpec

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedPostgres]:
    """A server that no other test uses: its sessions can be counted."""
    with EmbeddedPostgres() as postgres:
        yield postgres


@pytest.fixture
def watch(own: EmbeddedPostgres) -> Iterator[ServerWatch]:
    with ServerWatch(TargetSpec().started(own.url)) as watch:
        wait_for(watch, "sessions", 0)
        yield watch


@contextlib.asynccontextmanager
async def session(postgres: EmbeddedPostgres, name: str, user: str = "postgres") -> AsyncIterator[Any]:
    host = postgres.url.split("host=")[1]
    connection = await asyncpg.connect(
        host=host, user=user, database="postgres", server_settings={"application_name": name}
    )
    try:
        yield connection
    finally:
        connection.terminate()


def wait_for(watch: ServerWatch, key: str, value: int) -> dict[str, Any]:
    """Sample until the server shows it; fail after 20 s."""
    deadline = time.monotonic() + 20
    while True:
        sample = watch.sample()
        assert sample is not None
        if sample[key] == value:
            return sample
        assert time.monotonic() < deadline, sample
        time.sleep(0.02)


def test_sessions_are_counted_by_state_name_and_wait(own: EmbeddedPostgres, watch: ServerWatch) -> None:
    async def scene() -> dict[str, Any]:
        async with (
            session(own, "theirs"),
            session(own, "poolctl-load") as holder,
            session(own, "poolctl-load") as waiter,
        ):
            await holder.execute("begin; select pg_advisory_xact_lock(1)")
            waiting = asyncio.create_task(waiter.execute("select pg_advisory_xact_lock(1)"))
            sample = await asyncio.to_thread(wait_for, watch, "lock_waits", 1)
            await holder.execute("rollback")
            await waiting
            return sample

    before = time.perf_counter_ns()
    sample = asyncio.run(scene())
    assert before <= sample["at_ns"] <= time.perf_counter_ns()
    assert (sample["sessions"], sample["idle"], sample["active"], sample["idle_in_transaction"]) == (3, 1, 1, 1)
    assert sample["applications"] == {"theirs": 1, "poolctl-load": 2}
    assert sample["longest_idle_in_transaction_s"] >= 0
    assert sample["longest_transaction_s"] >= sample["longest_idle_in_transaction_s"]
    assert sample["hidden"] == 0
    assert watch.blind == []


def test_the_watcher_and_its_kind_are_not_counted(own: EmbeddedPostgres, watch: ServerWatch) -> None:
    async def scene() -> None:
        async with session(own, "theirs"):
            with ServerWatch(TargetSpec().started(own.url)) as other:
                assert (await asyncio.to_thread(other.probe)).in_use == 1
                await asyncio.to_thread(wait_for, watch, "sessions", 1)

    asyncio.run(scene())


def test_the_watcher_is_named_reads_only_and_leaves_no_transaction_open(
    own: EmbeddedPostgres, watch: ServerWatch
) -> None:
    watch.sample()

    async def scene() -> Any:
        query = "select state, xact_start from pg_stat_activity where application_name = 'poolctl'"
        async with session(own, "looker") as looker:
            return await looker.fetchrow(query)

    row = asyncio.run(scene())
    assert (row["state"], row["xact_start"]) == ("idle", None)

    def write(connection: Connection) -> None:
        connection.execute(text("create table written (n int)"))

    with pytest.raises(Exception, match="read-only transaction"):
        watch._ask(watch._beside.ask(write))


def test_a_role_without_privileges_counts_sessions_and_says_what_it_cannot_see(own: EmbeddedPostgres) -> None:
    async def scene() -> None:
        async with session(own, "theirs") as theirs:
            await theirs.execute("create role blind login")
            with ServerWatch(TargetSpec(url=own.url.replace("postgres@", "blind@", 1))) as watch:
                info = await asyncio.to_thread(watch.probe)
                assert (info.max_connections, info.in_use) == (100, 1)
                sample = await asyncio.to_thread(watch.sample)
                assert sample is not None
                assert (sample["sessions"], sample["hidden"], sample["idle"]) == (1, 1, 0)
                assert watch.blind == [probes.HIDDEN]

    asyncio.run(scene())


def test_several_threads_may_ask(watch: ServerWatch) -> None:
    samples: list[Any] = []
    threads = [threading.Thread(target=lambda: samples.append(watch.sample())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(samples) == 5
    assert all(sample is not None for sample in samples)


def test_a_terminated_watcher_comes_back(own: EmbeddedPostgres, watch: ServerWatch) -> None:
    watch.sample()

    async def scene() -> None:
        statement = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'poolctl'"
        async with session(own, "killer") as killer:
            await killer.execute(statement)

    asyncio.run(scene())
    wait_for(watch, "sessions", 0)
    assert watch.lost is None


def test_a_server_that_restarts_after_a_crashed_backend_is_not_lost() -> None:
    with EmbeddedPostgres() as postgres, ServerWatch(TargetSpec().started(postgres.url)) as watch:
        watch.sample()

        async def crash() -> None:
            async with session(postgres, "victim") as victim:
                os.kill(await victim.fetchval("select pg_backend_pid()"), signal.SIGKILL)

        asyncio.run(crash())
        wait_for(watch, "sessions", 0)
        assert watch.lost is None


def test_a_server_without_a_free_connection_is_busy_and_not_lost(own: EmbeddedPostgres) -> None:
    with ServerWatch(TargetSpec(url=own.url.replace("postgres@", "modest@", 1))) as watch:

        async def scene() -> None:
            async with session(own, "admin") as admin:
                await admin.execute("create role modest login connection limit 1")
                async with session(own, "only", user="modest"):
                    assert await asyncio.to_thread(watch.sample) is None
                    assert watch.lost is None
                await asyncio.to_thread(wait_until_seen)

        def wait_until_seen() -> None:
            deadline = time.monotonic() + 20
            while watch.sample() is None:
                assert time.monotonic() < deadline

        asyncio.run(scene())


def eventually_gone(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(20)


def test_a_killed_server_is_lost_and_stays_lost() -> None:
    with EmbeddedPostgres() as postgres, ServerWatch(TargetSpec().started(postgres.url)) as watch:
        watch.sample()
        os.kill(postgres.pid, signal.SIGKILL)
        eventually_gone(postgres.pid)
        with pytest.raises(TargetError, match="the server was lost: embedded PostgreSQL: connection refused") as lost:
            watch.sample()
        assert watch.lost is lost.value
        with pytest.raises(TargetError, match="was lost"):
            watch.sample()


def test_a_frozen_server_is_lost_and_closing_does_not_hang() -> None:
    with EmbeddedPostgres() as postgres:
        watch = ServerWatch(TargetSpec().started(postgres.url), answer_s=0.5, grace_s=0.1)
        watch.sample()
        postmaster = psutil.Process(postgres.pid)
        frozen = [postmaster, *postmaster.children()]
        for process in frozen:
            process.suspend()
        try:
            with pytest.raises(TargetError, match="no answer in time"):
                watch.sample()
        finally:
            watch.close()
            for process in frozen:
                process.resume()


def test_a_database_without_sessions_shows_nothing(tmp_path: Path) -> None:
    with ServerWatch(TargetSpec(url=f"sqlite+aiosqlite:///{tmp_path}/x.db")) as watch:
        assert watch.probe().max_connections is None
        assert watch.sample() is None


def test_an_unreachable_server_is_told_at_once_and_a_bad_target_as_what_it_is() -> None:
    nowhere = TargetSpec(url="postgresql+asyncpg://u@/db?host=/nowhere-at-all")
    with ServerWatch(nowhere) as watch, pytest.raises(TargetError, match="connection refused"):
        watch.probe()
    with ServerWatch(TargetSpec(url="nosuch://u@/db")) as watch, pytest.raises(UsageError, match="no driver 'nosuch'"):
        watch.sample()


def test_a_watch_ends_its_thread_and_can_be_closed_twice(own: EmbeddedPostgres) -> None:
    watch = ServerWatch(TargetSpec().started(own.url))
    watch.sample()
    watch.close()
    watch.close()
    assert not any(thread.name == "poolctl-server-watch" and thread.is_alive() for thread in threading.enumerate())
