"""`pytest --poolctl` in a suite of somebody else's: a process of its own, on SQLite files, sync and async."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import asyncio
import gc

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

KEPT = []

@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/x.db", pool_size=3)
    yield engine
    engine.dispose()

@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('m')}/x.db")
    with engine.connect() as connection:
        yield connection

@pytest.fixture
def own(engine):
    with engine.connect() as connection:
        yield connection

def test_clean(engine):
    with engine.connect() as connection:
        connection.execute(text("select 1"))

def test_fixtures_own_connections(own, shared):
    own.execute(text("select 1"))
    shared.execute(text("select 1"))

def test_leaks(engine):
    KEPT.append(engine.connect())  # leaks here

def test_clean_after_a_leak(engine):
    test_clean(engine)

def test_abandons(engine):
    engine.connect()  # abandons here
    gc.collect()

def test_nests(engine):
    with engine.connect():
        with engine.connect():  # nests here
            pass

@pytest.mark.poolctl(nested=True, leaks=True)
def test_may_do_both(engine):
    KEPT.append(engine.connect())
    with engine.connect():
        pass

def test_async_leaks(tmp_path):
    async def main():
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db")
        kept = await engine.connect()  # async leak here
        await kept.execute(text("select 1"))
        KEPT.append((engine, kept))
        await asyncio.sleep(0)
    loop = asyncio.new_event_loop()
    KEPT.append(loop)
    loop.run_until_complete(main())

def test_two_async_tasks_do_not_nest(tmp_path):
    async def main():
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db")
        async def one():
            async with engine.connect() as connection:
                await connection.execute(text("select 1"))
                await asyncio.sleep(0.01)
        await asyncio.gather(one(), one(), one())
        await engine.dispose()
    asyncio.run(main())

@pytest.mark.poolctl("count connects == 1", "max hold < 30s")
def test_keeps_its_objectives(engine):
    test_clean(engine)

@pytest.mark.poolctl("count connects == 0", "p95 wait < 50ms")
def test_misses_its_objectives(engine):
    test_clean(engine)

@pytest.mark.poolctl("count leaks == 0")
def test_fails_by_itself(engine):
    assert False
"""


def run(directory: Path, *arguments: str, suite: str = SUITE) -> subprocess.CompletedProcess[str]:
    (directory / "test_suite.py").write_text(suite)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-p", "poolctl.testing.plugin", "-q", "-rA", "--rootdir", str(directory)]
    return subprocess.run(
        [*command, *arguments], cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    directory = tmp_path_factory.mktemp("suite")
    return directory, run(directory, "--poolctl")


def outcome(out: str, name: str) -> set[str]:
    return {line.split()[0] for line in out.splitlines() if line.split()[1:2] == [f"test_suite.py::{name}"]}


def line_of(comment: str) -> int:
    return 1 + next(number for number, line in enumerate(SUITE.splitlines()) if line.endswith(f"# {comment}"))


def test_clean_tests_and_fixtures_pass(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out = done[1].stdout
    clean = (
        "test_clean",
        "test_fixtures_own_connections",
        "test_clean_after_a_leak",
        "test_may_do_both",
        "test_two_async_tasks_do_not_nest",
        "test_keeps_its_objectives",
    )
    assert {name: outcome(out, name) for name in clean} == {name: {"PASSED"} for name in clean}, out
    assert done[1].returncode == 1


@pytest.mark.parametrize(
    ("name", "comment", "said"),
    [
        ("test_leaks", "leaks here", "leaked: the connection taken at"),
        ("test_abandons", "abandons here", "abandoned: the connection taken at"),
        ("test_nests", "nests here", "nested: a second connection was taken at"),
        ("test_async_leaks", "async leak here", "leaked: the connection taken at"),
    ],
)
def test_a_misuse_fails_the_test_with_its_line(
    done: tuple[Path, subprocess.CompletedProcess[str]], name: str, comment: str, said: str
) -> None:
    out = done[1].stdout
    assert "ERROR" in outcome(out, name)
    section = re.split(r"^_{3,} ", out.partition(f"ERROR at teardown of {name} ")[2], flags=re.MULTILINE)[0]
    assert said in section
    assert f"test_suite.py:{line_of(comment)} " in section


def test_objectives_of_a_marker_are_judged(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out = done[1].stdout
    assert "objective fail: count connects == 0: measured 1" in out
    assert "objective inconclusive: p95 wait < 50ms, p95 needs 59 samples, there are 1" in out


def test_the_run_is_kept_and_can_be_reported(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    directory, result = done
    assert "tests misused their pool; run " in result.stdout
    report = subprocess.run(
        [sys.executable, "-m", "poolctl", "report", "last", "--format", "json"],
        cwd=directory, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert report.returncode in (0, 4), report.stderr
    assert '"abandoned": 1' in report.stdout


def test_off_it_imports_nothing_and_leaves_everything_alone(tmp_path: Path) -> None:
    suite = """
import sys

def test_nothing():
    ours = {name for name in sys.modules if name.startswith("poolctl")}
    assert ours <= {"poolctl", "poolctl.testing", "poolctl.testing.plugin"}
    assert not {"sqlalchemy", "numpy", "pandas"} & set(sys.modules)
"""
    result = run(tmp_path, suite=suite)
    assert result.returncode == 0, result.stdout
    assert not (tmp_path / ".poolctl").exists()
    assert "poolctl:" not in result.stdout


def test_a_bad_objective_says_what_is_possible(tmp_path: Path) -> None:
    suite = "import pytest\n\n@pytest.mark.poolctl('p95 speed < 5ms')\ndef test_it():\n    pass\n"
    result = run(tmp_path, "--poolctl", suite=suite)
    assert result.returncode == 1
    assert "there is no measure 'speed'" in result.stdout
