"""Launch: a command, and all the Python processes it becomes, under capture."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sick_apps import APPS, Patient, assert_defects_are_seen, interpreters, lean_packages, patient, watch_while

from poolctl.analysis.leases import Tables, tables
from poolctl.errors import PoolctlError, TargetError, UsageError
from poolctl.target.spec import TargetSpec
from poolctl.trace.names import read_names
from poolctl.trace.run import Run
from poolctl.watch.plan import WatchPlan
from poolctl.watch.session import observe

INTERPRETERS = interpreters()

WORK = """
import sqlalchemy as sa
engine = sa.create_engine("sqlite:///{path}")
def work():
    with engine.connect() as connection:
        connection.execute(sa.text("select 1"))
work()
"""


def launch(runs: Path, *command: str, seconds: float = 30.0) -> Run:
    return observe(WatchPlan(command=command, seconds=seconds, runs_dir=runs))


def python(runs: Path, code: str, *options: str, seconds: float = 30.0) -> Run:
    return launch(runs, sys.executable, *options, "-c", code, seconds=seconds)


def work(tmp_path: Path) -> str:
    return WORK.format(path=tmp_path / "data.sqlite")


def sites(found: Tables) -> set[str]:
    return set(found.leases["site"].astype(str))


def processes_of(run: Run) -> list[dict[str, object]]:
    return [read_names(run.names_file(events))["process"][0] for events in run.event_files()]


def test_a_command_is_captured_and_its_streams_and_exit_are_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = python(tmp_path, work(tmp_path) + "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)")
    assert capfd.readouterr() == ("out\n", "err\n")
    found = tables(run)
    assert list(found.leases["end"]) == ["returned"]
    assert list(found.leases["function"]) == ["work"]
    meta = run.read_meta()
    assert (meta["command"], meta["end"], meta["end_detail"]) == (
        "diagnose",
        "completed",
        "the command ended with code 3",
    )
    assert (meta["target"]["pool_class"], meta["target"]["dialect"]) == ("QueuePool", "sqlite")


def test_the_environment_s_own_sitecustomize_runs_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins\nbuiltins.theirs = __file__\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told = tmp_path / "told"
    python(
        tmp_path / "runs",
        work(tmp_path) + f"import sys, json\nopen({str(told)!r}, 'w').write(json.dumps([theirs, "
        "sys.modules['sitecustomize'].__file__, [p for p in sys.path if 'inject' in p]]))",
    )
    theirs = str(tmp_path / "sitecustomize.py")
    assert json.loads(told.read_text()) == [theirs, theirs, []]


def test_nothing_is_left_in_the_import_system_once_sqlalchemy_is_there(tmp_path: Path) -> None:
    told = tmp_path / "told"
    python(
        tmp_path / "runs",
        work(tmp_path) + f"import sys, json\nopen({str(told)!r}, 'w').write(json.dumps("
        "[[type(f).__name__ for f in sys.meta_path], 'exec_module' in vars(sa.__spec__.loader), "
        "sorted(m for m in sys.modules if m.split('.')[0] in ('numpy', 'pandas', 'typer', 'psutil', 'pyarrow'))]))",
    )
    finders, wrapped, dragged_in = json.loads(told.read_text())
    assert "_Awaited" not in finders
    assert not wrapped
    assert dragged_in == []


CHILDREN = {
    "fork": "import os\npid = os.fork()\nwork()\npid and os.waitpid(pid, 0)",
    "spawn": "import subprocess, sys\nsubprocess.run([sys.executable, {script!r}, 'child'])",
    "multiprocessing": "import multiprocessing as m\np = m.get_context('spawn').Process(target=work)\n"
    "p.start()\np.join()",
    "a pool of forks": "import multiprocessing as m\nfork = m.get_context('fork')\nmet = fork.Barrier(2)\n"
    "def meet():\n    work()\n    met.wait(60)  # so that no worker does the other's job, too\n"
    "with fork.Pool(2) as p: p.starmap(meet, [()] * 2, chunksize=1)",
}


@pytest.mark.parametrize("how", CHILDREN)
def test_children_are_captured_each_into_its_own_file(tmp_path: Path, how: str) -> None:
    script = tmp_path / "script.py"
    again = CHILDREN[how].format(script=str(script))
    body = "\n    ".join(again.splitlines())
    script.write_text(
        work(tmp_path) + f"\nimport sys\nif __name__ == '__main__' and 'child' not in sys.argv:\n    {body}\n"
    )
    run = launch(tmp_path / "runs", sys.executable, str(script))
    found = tables(run)
    assert len(found.leases["process"].unique()) == len(run.event_files()) >= 2
    assert set(found.leases["end"]) == {"returned"}
    assert found.capture.errors == found.capture.dropped == 0
    assert not [path for path in rings() if any(f"-{pid}-" in path for pid in run.read_meta()["pids"])]


def test_a_process_that_replaces_itself_begins_a_second_file(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        work(tmp_path)
        + "import os, sys\nif len(sys.argv) < 2:\n    os.execv(sys.executable, [sys.executable, __file__, '2'])\n"
    )
    run = launch(tmp_path / "runs", sys.executable, str(script))
    before, after = processes_of(run)
    assert before["pid"] == after["pid"]
    assert len(tables(run).leases) == 2


@pytest.mark.parametrize("version", INTERPRETERS)
def test_another_python_that_knows_nothing_of_poolctl_is_captured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(lean_packages(tmp_path, INTERPRETERS[version])))
    told = tmp_path / "told"
    code = work(tmp_path) + f"open({str(told)!r}, 'w').write(sa.__version__)"
    run = launch(tmp_path / "runs", INTERPRETERS[version], "-c", code)
    assert told.exists()
    assert list(tables(run).leases["end"]) == ["returned"]
    assert str(processes_of(run)[0]["python"]).startswith(version)


def test_a_python_too_old_for_capture_says_so(tmp_path: Path) -> None:
    script = tmp_path / "old"  # what our first file sees of an older Python
    script.write_text("import sys\nsys.version_info = (3, 10, 1)\nimport sqlalchemy\n")
    with pytest.raises(TargetError, match=r"capture needs Python 3\.11 or newer"):
        launch(tmp_path / "runs", sys.executable, str(script))


def test_ten_thousand_requests_a_second_are_survived_and_what_was_dropped_is_counted(tmp_path: Path) -> None:
    code = work(tmp_path) + (
        "import time\nbegan = time.monotonic()\nn = 0\npool = engine.pool\n"
        "while time.monotonic() - began < 2:\n    pool.connect().close(); n += 1\n"
        f"open({str(tmp_path / 'told')!r}, 'w').write(str(n))"
    )
    run = python(tmp_path / "runs", code)
    made = int((tmp_path / "told").read_text()) + 1
    found = tables(run)
    assert found.capture.errors == 0
    assert len(found.leases) == made or found.capture.dropped > 0
    assert set(found.leases["end"]) <= {"returned", "open"}


def test_short_lived_processes_leave_no_ring_behind_while_the_window_goes_on(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = tmp_path / "script.py"
    script.write_text(
        work(tmp_path) + "import multiprocessing as m, glob, time\npids = []\n"
        "for _ in range(12):\n    p = m.get_context('fork').Process(target=work)\n    p.start()\n    p.join()\n"
        "    pids.append(p.pid)\n"
        "time.sleep(1)\nleft = [p for pid in pids for p in glob.glob(f'/dev/shm/poolctl-{pid}-*')]\n"
        f"open({str(told)!r}, 'w').write(str(left))\n"
    )
    run = launch(tmp_path / "runs", sys.executable, str(script))
    assert told.read_text() == "[]"
    assert run.read_meta()["processes"] == 13
    assert len(tables(run).leases) == 13


def test_a_command_is_ended_politely_at_the_end_of_the_window(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = work(tmp_path) + (
        "import signal, sys, time\n"
        f"def bye(*_):\n    open({str(told)!r}, 'w').write('bye')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\nwhile True: time.sleep(0.05); work()"
    )
    run = python(tmp_path / "runs", code, seconds=1.0)
    assert told.read_text() == "bye"
    assert run.read_meta()["ended_at_s"] >= 1.0


def test_what_ignores_politeness_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolctl.target.launch.POLITE_S", 0.5)
    monkeypatch.setattr("poolctl.target.launch.Command.stop.__defaults__", (0.5,))
    told = tmp_path / "told"
    code = work(tmp_path) + (
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.fork()\n"
        f"open({str(told)!r} + str(os.getpid()), 'w').close()\nwhile True: time.sleep(0.05)"
    )
    python(tmp_path / "runs", code, seconds=1.0)
    pids = [int(path.name.removeprefix("told")) for path in tmp_path.glob("told*")]
    assert len(pids) == 2
    assert [pid for pid in pids if is_running(pid)] == []


def test_signals_that_mean_nothing_to_poolctl_reach_the_command(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = work(tmp_path) + (
        "import signal, sys, time\n"
        f"def hup(*_):\n    open({str(told)!r}, 'w').write('reloaded')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGHUP, hup)\nprint('ready')\nwhile True: time.sleep(0.05)"
    )

    def send() -> None:
        while not list(tmp_path.glob("runs/*/names-*")):
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGHUP)

    sender = threading.Thread(target=send)
    sender.start()
    python(tmp_path / "runs", code)
    sender.join()
    assert told.read_text() == "reloaded"


def test_ctrl_c_ends_the_window_early_and_keeps_the_run(tmp_path: Path) -> None:
    code = work(tmp_path) + "import time\nwhile True: time.sleep(0.05); work()"

    def interrupt() -> None:
        while not list(tmp_path.glob("runs/*/run.json")):
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=interrupt)
    sender.start()
    run = python(tmp_path / "runs", code, seconds=60)
    sender.join()
    assert run.read_meta()["end"] == "interrupted"
    assert len(tables(run).leases) > 1


@pytest.mark.parametrize(
    ("command", "kind", "message"),
    [
        (["no-such-command-here"], UsageError, "cannot run no-such-command-here: no such command"),
        (["/etc/hostname"], UsageError, "cannot run /etc/hostname: "),
        (["/bin/true"], TargetError, "no process of /bin/true, which ended with code 0, announced itself"),
        ([sys.executable, "-c", "pass"], TargetError, "a Python process ran in .*, and none imported SQLAlchemy"),
        ([sys.executable, "-I", "-c", "import time; time.sleep(40)"], TargetError, "Python runs with -I, which keeps"),
    ],
    ids=["missing", "not a program", "not Python", "no SQLAlchemy", "isolated"],
)
def test_a_command_that_cannot_be_captured_is_one_clear_line_and_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], kind: type[PoolctlError], message: str
) -> None:
    monkeypatch.setattr("poolctl.watch.session.PATIENCE_S", 1.5)
    with pytest.raises(kind, match=message) as raised:
        launch(tmp_path, *command, seconds=1.0)
    assert raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_removed_run_directory_ends_the_window_and_the_application_goes_on(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = work(tmp_path) + (
        "import os, shutil, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for n in range(200): work()\n"
        "time.sleep(0.5)\nshutil.rmtree(os.environ['POOLCTL_RUN_DIR'])\n"
        "for n in range(200): work()\n"
        "pid = os.fork()\nwork()\n"  # a child that finds no directory any more
        "pid and os.waitpid(pid, 0)\n"
        f"pid and open({str(told)!r}, 'w').write('fine')\ntime.sleep(0.3)"
    )
    with pytest.raises(PoolctlError, match="cannot write"):
        python(tmp_path / "runs", code, seconds=20)
    assert told.read_text() == "fine"


@pytest.mark.server
def test_the_server_is_looked_at_meanwhile_where_its_url_is_known(tmp_path: Path, postgres_url: str) -> None:
    code = work(tmp_path) + "import time\nfor _ in range(50):\n    work(); time.sleep(0.05)"
    plan = WatchPlan(
        command=(sys.executable, "-c", code),
        seconds=30,
        runs_dir=tmp_path / "runs",
        server=TargetSpec(url=postgres_url),
    )
    run = observe(plan)
    assert run.read_meta()["target"]["server"]["max_connections"] > 0
    assert len((run.path / "server.jsonl").read_text().splitlines()) >= 2


def test_a_server_that_cannot_be_reached_is_said_before_the_command_runs(tmp_path: Path) -> None:
    told = tmp_path / "told"
    nowhere = TargetSpec(url=f"postgresql+asyncpg:///postgres?host={tmp_path}")
    code = f"open({str(told)!r}, 'w').close()"
    plan = WatchPlan(command=(sys.executable, "-c", code), runs_dir=tmp_path / "runs", server=nowhere)
    with pytest.raises(TargetError):
        observe(plan)
    assert not told.exists()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def rings() -> list[str]:
    return [path.name for path in Path("/dev/shm").glob("poolctl-*.ring")]  # noqa: S108 - where rings are


@pytest.fixture(params=["sick_async", "sick_sync"])
def sick(request: pytest.FixtureRequest, postgres_url: str) -> object:
    url = postgres_url if request.param == "sick_async" else postgres_url.replace("asyncpg", "psycopg")
    with patient(request.param, url) as made:
        yield made


@pytest.mark.server
def test_planted_defects_are_seen_at_their_lines(
    tmp_path: Path, sick: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sick.environment.items():
        monkeypatch.setenv(name, value)
    run = watch_while(sick, WatchPlan(command=tuple(sick.command), seconds=60, runs_dir=tmp_path))
    assert sick.errors == []
    assert_defects_are_seen(tables(run), sick.app)


GUNICORN = "--chdir {apps} -w 2 -b 127.0.0.1:{port} -k uvicorn_worker.UvicornWorker sick_async:app"
SERVERS = {
    "uvicorn workers": "-m uvicorn --app-dir {apps} --workers 2 --port {port} sick_async:app",
    "gunicorn": f"-m gunicorn {GUNICORN}",
    "gunicorn, preloaded": f"-m gunicorn --preload {GUNICORN}",
}


@pytest.mark.server
@pytest.mark.parametrize("server", SERVERS)
def test_every_worker_of_a_server_is_captured(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    with patient("sick_async", postgres_url) as sick:
        for name, value in sick.environment.items():
            monkeypatch.setenv(name, value)
        words = SERVERS[server].format(apps=APPS, port=sick.port).split()
        seen: set[bytes] = set()

        def ask() -> None:
            sick.wait_until_up()
            until = time.monotonic() + 20
            while len(seen) < 2 and time.monotonic() < until:
                seen.add(sick.get("healthy"))
            os.kill(os.getpid(), signal.SIGINT)

        asker = threading.Thread(target=ask)
        asker.start()
        run = launch(tmp_path, sys.executable, *words, seconds=60)
        asker.join()
    assert len(seen) == 2
    assert {int(pid) for pid in seen} <= set(tables(run).leases["process"])
    assert subprocess.run(["pgrep", "-f", f"127.0.0.1:{sick.port}"], stdout=subprocess.DEVNULL).returncode == 1
