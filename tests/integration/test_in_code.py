"""In code: `poolctl.attach()`, `poolctl.capture(engine)` and `?plugin=poolctl`, and a reader who comes later."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sick_apps import assert_defects_are_seen, patient, watch_while

from poolctl.analysis.leases import Tables, tables
from poolctl.errors import TargetError
from poolctl.trace.run import Run
from poolctl.watch.plan import WatchPlan
from poolctl.watch.session import observe

WORK = """
import os, sys, threading, time
import sqlalchemy as sa
import sqlalchemy.pool
import poolctl

def engine_at(name, **more):
    url = f"sqlite:///{os.getcwd()}/{name}.sqlite" + more.pop("query", "")
    return sa.create_engine(url, poolclass=sa.QueuePool, **more)

def work(engine):
    with engine.connect() as connection:
        connection.execute(sa.text("select 1"))

def leak(engine):
    return engine.connect()

def go_on(*engines):
    open("begun", "w").close()
    while not os.path.exists("stop"):
        for engine in engines:
            work(engine)
        time.sleep(0.002)
"""


@contextlib.contextmanager
def application(directory: Path, code: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run code until the end of the context; it announces itself below its directory."""
    environment = {key: value for key, value in os.environ.items() if key != "POOLCTL_RUN_DIR"}
    process = subprocess.Popen([sys.executable, "-c", WORK + code], cwd=directory, env=environment)
    try:
        until = time.monotonic() + 30
        while not (directory / "begun").exists():
            assert process.poll() is None, "the application ended"
            assert time.monotonic() < until
            time.sleep(0.02)
        yield process
        assert process.poll() is None, "the application did not survive"
        (directory / "stop").touch()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def look(directory: Path, seconds: float = 0.6, **more: object) -> Run:
    return observe(WatchPlan(seconds=seconds, runs_dir=directory / ".poolctl/runs", **more))  # type: ignore[arg-type]


def functions(found: Tables) -> set[str]:
    return set(found.leases["function"])


@pytest.mark.parametrize(
    "how",
    ["poolctl.attach()", "poolctl.attach(engine)", "poolctl.capture(engine)", "poolctl.capture()"],
)
def test_a_process_that_captures_itself_is_found_again_and_again(tmp_path: Path, how: str) -> None:
    with application(tmp_path, f"engine = engine_at('a')\n{how}\n{how}\ngo_on(engine)") as process:
        runs = [look(tmp_path), look(tmp_path)]
        for run in runs:
            found = tables(run)
            assert functions(found) == {"work"}
            assert len(found.leases) > 20
            assert set(found.leases["process"]) == {process.pid}
            assert found.capture.dropped == found.capture.errors == 0
            assert (found.leases["ended_at_s"].dropna() >= 0).all()
    with pytest.raises(TargetError, match="no process announced itself"):
        observe_impatiently(tmp_path)
    assert not list(Path("/dev/shm").glob(f"poolctl-{process.pid}-*"))  # noqa: S108 - where rings are


def observe_impatiently(directory: Path) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("poolctl.watch.session.PATIENCE_S", 0.3)
        return look(directory, 0.3)


def test_only_the_named_engine_is_captured_also_after_its_pool_was_replaced(tmp_path: Path) -> None:
    code = (
        "one, other = engine_at('one'), engine_at('other')\nwork(one), work(other)\n"
        "def mine(): work(one)\ndef theirs(): work(other)\n"
        "poolctl.attach(one)\none.dispose()\n"
        "open('begun', 'w').close()\n"
        "while not os.path.exists('stop'):\n    one.pool.connect().close(); theirs(); time.sleep(0.005)\n"
    )
    with application(tmp_path, code):
        found = tables(look(tmp_path))
    assert functions(found) == {"<module>"}
    assert len(found.pools) == 1


def test_a_second_engine_may_be_added(tmp_path: Path) -> None:
    code = (
        "one, other = engine_at('one'), engine_at('other')\npoolctl.attach(one)\nwork(other)\npoolctl.attach(other)\n"
        "go_on(one, other)\n"
    )
    with application(tmp_path, code):
        found = tables(look(tmp_path))
    assert len(set(found.leases["pool"])) == 2


def test_the_plugin_in_the_url_captures_that_engine(tmp_path: Path) -> None:
    code = "engine = engine_at('a', query='?plugin=poolctl&poolctl_run_dir=here')\ngo_on(engine)"
    with application(tmp_path, code):
        found = tables(look(tmp_path, announced_in=tmp_path / "here"))
    assert functions(found) == {"work"}


def test_a_plugin_that_cannot_write_warns_and_lets_the_application_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code = (
        "import warnings\nwith warnings.catch_warnings(record=True) as said:\n    warnings.simplefilter('always')\n"
        "    engine = engine_at('a', query='?plugin=poolctl&poolctl_run_dir=file/below')\n"
        "assert 'poolctl captures nothing: cannot write' in str(said[0].message)\ngo_on(engine)"
    )
    with application(tmp_path, code):
        pass


def test_an_old_leak_is_told_to_whoever_comes_late_with_its_line(tmp_path: Path) -> None:
    code = (
        "engine = engine_at('a')\n"
        "poolctl.attach()\n"
        "kept = leak(engine)\n"
        "for _ in range(25_000): work(engine)\n"  # 65,536 records are long gone over it
        "go_on(engine)\n"
    )
    with application(tmp_path, code):
        found = tables(look(tmp_path, 1.0))
    still_open = found.leases[found.leases["end"] == "open"]
    assert "leak" in set(still_open["function"])
    assert found.capture.dropped == 0


def test_removing_it_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    code = (
        "def state(): return [dict(vars(c)) for c in (sa.Pool, sa.QueuePool, sqlalchemy.pool.base._ConnectionFairy)]\n"
        "before = state()\nattached = poolctl.attach()\nassert state() != before\nattached.remove()\n"
        "assert state() == before\nimport glob\nassert not glob.glob(f'/dev/shm/poolctl-{os.getpid()}-*')\n"
        "assert not glob.glob('.poolctl/runs/announced/names-*')\ngo_on()"
    )
    with application(tmp_path, code):
        pass


def test_a_process_that_ends_unwatched_takes_its_ring_along(tmp_path: Path) -> None:
    with application(tmp_path, "engine = engine_at('a')\npoolctl.attach()\ngo_on(engine)") as process:
        assert list(Path("/dev/shm").glob(f"poolctl-{process.pid}-*"))  # noqa: S108
    assert not list(Path("/dev/shm").glob(f"poolctl-{process.pid}-*"))  # noqa: S108
    assert not list((tmp_path / ".poolctl/runs/announced").iterdir())


def test_forked_children_announce_themselves_too(tmp_path: Path) -> None:
    code = (
        "poolctl.attach()\npid = os.fork()\nengine = engine_at(str(pid))\n"
        "if pid == 0:\n    go_on(engine)\n    os._exit(0)\ngo_on(engine)\nos.waitpid(pid, 0)"
    )
    with application(tmp_path, code):
        until = time.monotonic() + 30
        while len(list(tmp_path.glob(".poolctl/runs/announced/names-*"))) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        assert len(set(tables(look(tmp_path, 1.0)).leases["process"])) == 2


def test_children_that_ended_at_once_do_not_fill_the_shared_memory(tmp_path: Path) -> None:
    """As multiprocessing's do: `os._exit` runs nothing. What one of another machine announced is left alone."""
    announced = tmp_path / ".poolctl/runs/announced"
    announced.mkdir(parents=True)
    elsewhere = announced / "names-1.jsonl"
    elsewhere.write_text('{"kind": "process", "pid": 99999999, "ring": "/dev/shm/poolctl-99999999-gone.ring"}\n')
    code = (
        "poolctl.attach()\nengine = engine_at('a')\npids = []\n"
        "for _ in range(8):\n    pid = os.fork()\n    if pid == 0:\n        work(engine)\n        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n    pids.append(pid)\n"
        "with open('pids', 'w') as file:\n    print(*pids, file=file)\ngo_on(engine)"
    )
    with application(tmp_path, code) as process:
        pids = (tmp_path / "pids").read_text().split()
        left = [pid for pid in pids if list(Path("/dev/shm").glob(f"poolctl-{pid}-*"))]  # noqa: S108
        assert left == pids[-1:], "each was removed by the next"
        assert len(list(announced.iterdir())) == 3
        assert list(Path("/dev/shm").glob(f"poolctl-{process.pid}-*"))  # noqa: S108
    assert not [pid for pid in pids if list(Path("/dev/shm").glob(f"poolctl-{pid}-*"))]  # noqa: S108
    assert list(announced.iterdir()) == [elsewhere]


def test_an_attach_by_pid_takes_over_for_its_window_only(tmp_path: Path) -> None:
    with application(tmp_path, "engine = engine_at('a')\npoolctl.attach()\ngo_on(engine)") as process:
        by_pid = tables(observe(WatchPlan(pid=process.pid, seconds=0.5, runs_dir=tmp_path / "runs")))
        later = tables(look(tmp_path))
    assert functions(by_pid) <= {"work", "held since before capture began"}
    assert functions(later) <= {"work", "held since before capture began"}
    assert min(len(by_pid.leases), len(later.leases)) > 20
    assert by_pid.capture.dropped == later.capture.dropped == 0


def test_under_a_launch_the_application_s_own_call_joins_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        WORK + "engine = engine_at('a')\nattached = poolctl.attach()\nwork(engine)\nattached.remove()\nwork(engine)"
    )
    run = observe(WatchPlan(command=(sys.executable, str(script)), seconds=30, runs_dir=tmp_path / "runs"))
    assert len(tables(run).leases) == 2
    assert len(run.event_files()) == 1


@pytest.mark.server
@pytest.mark.parametrize("app", ["sick_async", "sick_sync"])
@pytest.mark.parametrize("way", ["attach", "engine", "plugin"])
def test_planted_defects_are_seen_by_a_server_s_own_call(tmp_path: Path, app: str, way: str, postgres_url: str) -> None:
    url = postgres_url if app == "sick_async" else postgres_url.replace("asyncpg", "psycopg")
    more = {"POOLCTL_RUN_DIR": str(tmp_path / "here")}
    if way == "plugin":
        url += ("&" if "?" in url else "?") + "plugin=poolctl"
    else:
        more["ATTACH"] = way
    with patient(app, url) as sick:
        sick.environment.update(more)
        with sick.running():
            plan = WatchPlan(seconds=60, runs_dir=tmp_path / "runs", announced_in=tmp_path / "here")
            run = watch_while(sick, plan)
    assert sick.errors == []
    assert_defects_are_seen(tables(run), app)
