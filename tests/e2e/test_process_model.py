"""Defects of the process model and of holders, run for real under `poolctl diagnose`: each named, with its line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from command import poolctl


def diagnosed(cwd: Path, script: str, url: str = "sqlite:///data.sqlite") -> dict[str, Any]:
    """Run a script to its end under capture; return its findings by code."""
    (cwd / "app.py").write_text(f"import sqlalchemy as sa, sys\nURL = {url!r}\n" + script)
    result = poolctl("diagnose", "--quiet", "--format", "json", "--", sys.executable, "app.py", cwd=cwd)
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert report["capture"]["errors"] == report["capture"]["dropped"] == 0
    return {finding["code"]: finding for finding in report["findings"]}


ENGINE_PER_REQUEST = """\
def total():
    engine = sa.create_engine(URL)
    with engine.connect() as connection:
        return connection.exec_driver_sql("select 1").scalar()
for _ in range(30):
    total()
"""

SEVERAL_ENGINES = """\
one, other = sa.create_engine(URL), sa.create_engine(URL)
for _ in range(20):
    with one.connect():
        pass
    with other.connect():
        pass
"""


def test_an_engine_per_request_is_one_and_two_engines_are_two(tmp_path: Path) -> None:
    found = diagnosed(tmp_path, ENGINE_PER_REQUEST)
    assert found["PC604"]["title"].startswith("30 engines were made for one URL in one process")
    assert found["PC604"]["sites"] == ["app.py:5 total"] or found["PC604"]["sites"][0].endswith("/app.py:5 total")
    assert not {"PC603", "PC205"} & set(found)
    found = diagnosed(tmp_path, SEVERAL_ENGINES)
    assert "PC604" not in found
    assert found["PC603"]["title"].startswith("2 engines for one URL")
    assert [site.rpartition(":")[2] for site in found["PC603"]["sites"]] == ["5 <module>", "7 <module>"]


FORK = """\
import os
engine = sa.create_engine(URL)
with engine.connect() as connection:
    connection.exec_driver_sql("select 1")
child = os.fork()
if child == 0:
    if "dispose" in sys.argv[0] + DISPOSE:
        engine.dispose(close=False)
    with engine.connect() as connection:
        connection.exec_driver_sql("select 1")
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.server
def test_a_connection_that_went_over_a_fork_is_named_and_a_disposed_engine_is_not(
    tmp_path: Path, postgres_url: str
) -> None:
    url = postgres_url.replace("asyncpg", "psycopg")
    found = diagnosed(tmp_path, "DISPOSE = ''\n" + FORK, url)
    assert found["PC605"]["severity"] == "critical"
    assert found["PC605"]["title"] == "1 connection of a parent process used by 1 forked"
    assert found["PC605"]["sites"][0].endswith("app.py:12 <module>")
    assert "PC605" not in diagnosed(tmp_path, "DISPOSE = 'dispose'\n" + FORK, url)


SYNC_IN_LOOP = """\
import asyncio
engine = sa.create_engine(URL)
def total():
    with engine.connect() as connection:
        connection.exec_driver_sql("select pg_sleep(0.15)")
async def endpoint():
    CALL
async def main():
    await asyncio.gather(*(endpoint() for _ in range(4)))
asyncio.run(main())
"""


@pytest.mark.server
def test_a_sync_driver_on_the_event_loop_is_named_and_one_in_a_thread_is_not(tmp_path: Path, postgres_url: str) -> None:
    url = postgres_url.replace("asyncpg", "psycopg")
    found = diagnosed(tmp_path, SYNC_IN_LOOP.replace("CALL", "total()"), url)
    assert found["PC606"]["title"] == "4 requests to a sync pool made on the event loop"
    assert found["PC606"]["severity"] == "error"
    assert found["PC606"]["sites"][0].endswith("app.py:6 total")
    assert "PC602" in found, "the loop that it stops is listened to"
    found = diagnosed(tmp_path, SYNC_IN_LOOP.replace("CALL", "await asyncio.to_thread(total)"), url)
    assert "PC606" not in found


HOLDERS = """\
import threading
engine = sa.create_engine(URL, pool_size=1, max_overflow=4)
ready = threading.Barrier(4)
def report():
    with engine.connect():
        ready.wait(60)
threads = [threading.Thread(target=report) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
def outer():
    with engine.connect():
        inner()
def inner():
    with engine.connect():
        pass
for _ in range(3):
    outer()
"""


def test_the_holders_of_an_overflow_and_both_stacks_of_a_nested_checkout_are_told(tmp_path: Path) -> None:
    found = diagnosed(tmp_path, HOLDERS)
    dump = [line for line in found["PC203"]["evidence"] if line.startswith("held by ")]
    assert len(dump) == 4
    assert all("app.py:7 report, since " in line for line in dump)
    nested = "\n".join(found["PC601"]["evidence"])
    assert "holds: " in nested
    assert "app.py:13 outer < " in nested
    asks = next(line for line in found["PC601"]["evidence"] if line.startswith("asks again: "))
    assert [place.rpartition(":")[2] for place in asks.split(" < ")] == ["16 inner", "14 outer", "19 <module>"]


IDLE = """\
import time
engine = sa.create_engine(URL)
def export():
    with engine.connect() as connection:
        connection.exec_driver_sql("select 1")
        time.sleep(0.05)
        connection.exec_driver_sql("select 1")
for _ in range(5):
    export()
"""
ASYNC_IDLE = """\
import asyncio
from sqlalchemy.ext.asyncio import create_async_engine
engine = create_async_engine(URL)
async def export():
    async with engine.connect() as connection:
        await connection.exec_driver_sql("select 1")
        await asyncio.sleep(0.05)
        await connection.exec_driver_sql("select 1")
async def main():
    for _ in range(5):
        await export()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("script", "url", "line"),
    [(IDLE, "sqlite:///data.sqlite", 9), (ASYNC_IDLE, "sqlite+aiosqlite:///data.sqlite", 10)],
    ids=["sync", "async"],
)
def test_the_line_before_which_a_connection_idled_is_named(tmp_path: Path, script: str, url: str, line: int) -> None:
    found = diagnosed(tmp_path, script, url)
    assert f"idle until line {line} used it again" in found["PC302"]["evidence"]
    assert f"before line {line}, and take it again there" in found["PC302"]["advice"]


def test_a_run_judged_again_gives_the_report_it_gave(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(f"import sqlalchemy as sa\nURL = {'sqlite:///data.sqlite'!r}\n" + HOLDERS)
    live = poolctl("diagnose", "--quiet", "--format", "json", "--", sys.executable, "app.py", cwd=tmp_path)
    again = poolctl("diagnose", "--trace", "last", "--format", "json", cwd=tmp_path)
    assert json.loads(again.out) == json.loads(live.out)


@pytest.mark.server
def test_the_budget_of_all_processes_is_judged_with_nothing_watched(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "poolctl.toml").write_text(
        f'url = "{postgres_url}"\npool_size = 20\nmax_overflow = 5\nprocesses = 10\n'
    )
    result = poolctl("diagnose", "--window", "0", "--format", "json", cwd=tmp_path)
    assert result.code == 0, result.err
    [finding] = [finding for finding in json.loads(result.out)["findings"] if finding["code"] == "PC501"]
    assert finding["title"].startswith("10 × 25 connections may be asked for")
