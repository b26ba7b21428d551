"""The server's and the proxy's side of a window, on real ones: who holds, who blocks, who drops, who starves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from command import poolctl
from pgbouncer import PgBouncer
from sick_apps import site_of
from watched import APP, Watched, found

from poolctl.clock import Anchor, monotonic_ns
from poolctl.policy import Policy
from poolctl.report import render
from poolctl.target.embedded import EmbeddedPostgres
from poolctl.target.spec import TargetSpec
from poolctl.trace.run import Run
from poolctl.watch.around import Around
from poolctl.watch.plan import WatchPlan

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedPostgres]:
    """A server whose sessions are all the tests' own."""
    with EmbeddedPostgres() as postgres:
        yield postgres


def waiting(lines: list[dict[str, object]]) -> int:
    """Samples in which a client waited in the proxy."""
    return sum(any(pool["cl_waiting"] for pool in line.get("pools", ())) for line in lines)  # type: ignore[attr-defined]


def test_a_proxy_that_starves_and_is_restarted_is_named(own: EmbeddedPostgres, tmp_path: Path) -> None:
    with PgBouncer(own, default_pool_size=1) as proxy:

        def script(watched: Watched) -> None:
            watched.until("proxy.jsonl", lambda lines: waiting(lines) >= max(3, len(lines) / 2))
            proxy.restart()
            so_far = len(watched.lines("proxy.jsonl"))
            watched.until("proxy.jsonl", lambda lines: waiting(lines[so_far:]) >= 1)

        report = Watched(tmp_path).report(
            "busy",
            proxy.url,
            script,
            engine={"pool_size": 8, "max_overflow": 0},
            server=own.url,
            proxy=proxy.console,
            proxy_log=proxy.log,
        )
    starves, closes = found(report, "PC507"), found(report, "PC506")
    assert starves is not None
    assert "PgBouncer's pool of 1 server connection for postgres/postgres starves" in starves.title
    assert starves.advice == "default_pool_size = 8 (today 1)"
    assert closes is not None
    assert "PgBouncer was restarted at second" in closes.title
    assert closes.severity == "error", closes.evidence
    assert (report.verdict, "PgBouncer's pool of 1" in report.summary) == ("too small", True), report.summary
    assert report.target.proxy is not None
    assert report.target.proxy.pool_mode == "transaction"
    assert "PC507 proxy-starves" in render(report, "console")
    assert found(report, "PC505") is None, "the server was there all the time"


def test_a_proxy_that_is_large_enough_is_not_and_the_command_line_asks_it_too(
    own: EmbeddedPostgres, tmp_path: Path
) -> None:
    def stop() -> None:
        until = time.monotonic() + 90
        while time.monotonic() < until:
            [*files] = tmp_path.glob(".poolctl/runs/2*/proxy.jsonl")
            if files and files[0].read_text().count('"user"') >= 3:  # three samples with the application's pool
                break
            time.sleep(0.05)
        (tmp_path / "stop").touch()

    director = threading.Thread(target=stop)
    with PgBouncer(own, default_pool_size=12) as proxy:
        director.start()
        told = poolctl(
            *("diagnose", "--url", own.url, "--proxy", proxy.console, "--proxy-log", proxy.log, "--window", "2m"),
            *("--format", "json", "--quiet", "--", sys.executable, APP, "busy"),
            cwd=tmp_path,
            environment={
                "DATABASE_URL": proxy.url,
                "STOP": str(tmp_path / "stop"),
                "ENGINE": json.dumps({"pool_size": 8, "max_overflow": 0}),
            },
        )
    director.join()
    assert told.code == 0, told.err
    report = json.loads(told.out)
    ours = {"PC404", "PC504", "PC505", "PC506", "PC507"}
    assert {finding["code"] for finding in report["findings"]} & ours == set()
    assert "proxy" not in report["summary"]
    assert any(line.startswith("PgBouncer: clients waited") for line in report["evidence"])
    [run] = tmp_path.glob(".poolctl/runs/2*")
    assert len((run / "proxy.jsonl").read_text().splitlines()) >= 2
    assert (run / "proxy-log.jsonl").exists()


def test_clients_that_the_proxy_closes_for_idling_are_matched_with_what_was_lost(
    own: EmbeddedPostgres, tmp_path: Path
) -> None:
    with PgBouncer(own, client_idle_timeout=1) as proxy:
        report = Watched(tmp_path).report(
            "quiet",
            proxy.url,
            environment={"PAUSE": "3"},
            proxy=proxy.console,
            proxy_log=proxy.log,
        )
        told = poolctl(
            *("diagnose", "--url", proxy.url, "--proxy", proxy.console, "--window", "0", "--format", "json"),
            cwd=tmp_path,
        )
    judged = json.loads(told.out)
    assert judged["target"]["proxy"]["client_idle_timeout_s"] == 1.0
    assert "PC404" in {finding["code"] for finding in judged["findings"]}
    recycle, closes = found(report, "PC404"), found(report, "PC506")
    assert recycle is not None
    assert "PgBouncer's client_idle_timeout closes idle connections after 1.00 s" in recycle.title
    assert recycle.severity == "error", recycle.evidence
    assert closes is not None
    assert "client_idle_timeout" in closes.title
    assert "pool_recycle below the proxy's client_idle_timeout" in closes.advice


def test_a_server_that_recovers_from_a_crash_is_told(tmp_path: Path) -> None:
    with EmbeddedPostgres() as postgres:

        def script(watched: Watched) -> None:
            watched.until("server.jsonl", lambda lines: sum(len(line.get("backends", ())) == 8 for line in lines) >= 1)
            victim = watched.lines("server.jsonl")[-1]["backends"][0]["pid"]
            os.kill(victim, signal.SIGKILL)
            watched.until("server.jsonl", lambda lines: any(line.get("connects", 1) > 1 for line in lines))

        report = Watched(tmp_path).report(
            "busy", postgres.url, script, engine={"pool_size": 8, "max_overflow": 0}, server=postgres.url
        )
    broke = found(report, "PC505")
    assert broke is not None
    assert "the server broke off" in broke.title
    assert report.leases.invalidated + report.leases.failed >= 1


def test_a_lock_queue_has_its_head_and_its_line_and_an_idle_transaction_too(
    own: EmbeddedPostgres, tmp_path: Path
) -> None:
    def enough(lines: list[dict[str, object]]) -> bool:
        return sum(line.get("lock_waits", 0) == 2 for line in lines) >= 3

    report = Watched(tmp_path).report(
        "locks",
        own.url,
        lambda watched: watched.until("server.jsonl", enough),
        server=own.url,
        policy=Policy(hold_time_warning_s=1.0),
    )
    locks, idle = found(report, "PC508"), found(report, "PC503")
    assert locks is not None
    assert locks.sites == [site_of("neighbour", "reserve"), site_of("neighbour", "buy")]
    assert "update stock set n = n - ? where id = ?" in " ".join(locks.evidence)
    assert "31415926" not in " ".join(locks.evidence)
    assert idle is not None
    assert idle.sites == [site_of("neighbour", "reserve")]
    assert found(report, "PC505") is None


def test_a_server_that_takes_nobody_in_any_more_is_no_reason_not_to_look(own: EmbeddedPostgres, tmp_path: Path) -> None:
    async def scene() -> None:
        host = own.url.split("host=")[1]
        admin = await asyncpg.connect(host=host, user="postgres", database="postgres")
        await admin.execute("create role modest login connection limit 1")
        only = await asyncpg.connect(host=host, user="modest", database="postgres")
        await asyncio.to_thread(look, own.url.replace("postgres@", "modest@", 1))
        only.terminate()
        await admin.close()

    def look(url: str) -> None:
        with contextlib.ExitStack() as stack:
            around = Around(WatchPlan(server=TargetSpec(url=url)), Run.create(tmp_path), stack)
            told = around.finish(Anchor.now(), monotonic_ns())
        assert "server" not in around.target
        assert told["server_blind"][0].startswith("the server at the beginning: the server has no free connection")

    asyncio.run(scene())
