"""Attach: capture comes into a live process and goes again, and the process is as it was."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sick_apps import assert_defects_are_seen, interpreters, lean_packages, patient, watch_while

from poolctl.analysis.leases import tables
from poolctl.errors import PoolctlError, TargetError, UsageError
from poolctl.target import remote_exec
from poolctl.target.attach_pid import Foothold
from poolctl.target.process import look_at
from poolctl.trace.names import read_names
from poolctl.trace.run import Run
from poolctl.watch.plan import WatchPlan
from poolctl.watch.session import observe

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="attaching is for x86-64 Linux"
)

INTERPRETERS = interpreters()

APPLICATION = """
import json, os, sys, threading, time
import sqlalchemy as sa
import sqlalchemy.pool.base, sqlalchemy.engine.cursor
from sqlalchemy.engine.default import DefaultDialect

directory = sys.argv[1]
engine = sa.create_engine(f"sqlite:///{directory}/data.sqlite", poolclass=sa.QueuePool, pool_size=4, max_overflow=2)
held = engine.connect()

def tree(root):
    yield root
    for child in root.__subclasses__():
        yield from tree(child)

def state():
    '''Everything that capture could have touched.'''
    owners = [*tree(sa.Pool), *tree(DefaultDialect), sqlalchemy.pool.base, sqlalchemy.pool.base._ConnectionRecord,
              sqlalchemy.pool.base._ConnectionFairy, sqlalchemy.engine.cursor.CursorFetchStrategy,
              sqlalchemy.engine.cursor.BufferedRowCursorFetchStrategy]
    own = {f"{o!r}.{n}": repr(v) for o in owners for n, v in vars(o).items() if callable(v)}
    return {"classes": own, "finders": [repr(f) for f in sys.meta_path], "path": list(sys.path),
            "poolctl": sorted(m for m in sys.modules if m.split('.')[0] == "poolctl"),
            "main": sorted(globals()), "threads": [t.name for t in threading.enumerate()]}

def work():
    with engine.connect() as connection:
        connection.execute(sa.text("select 1"))

def tell(name):
    with open(f"{directory}/.{name}", "w") as file:
        json.dump(state(), file)
    os.rename(f"{directory}/.{name}", f"{directory}/{name}")

def live():
    asked = set()
    while True:
        work()
        for name in os.listdir(directory):
            if name.startswith("tell-") and name not in asked:
                asked.add(name)
                tell(name.replace("tell-", "told-"))
        time.sleep(0.002)

tell("begun")
"""
BUSY = APPLICATION + "live()\n"
WAITING = APPLICATION + "t = threading.Thread(target=live, daemon=True)\nt.start()\nthreading.Event().wait()\n"
DRIVEN_BY = {
    "asyncio": APPLICATION
    + "import asyncio\nasync def main():\n    while True: await asyncio.sleep(0.01)\n"
    + "threading.Thread(target=live, daemon=True).start()\nasyncio.run(main())\n",  # last: it tells the state
    "asyncio without a timer": APPLICATION
    + "import asyncio\nasync def main():\n    await asyncio.Event().wait()\n"
    + "threading.Thread(target=live, daemon=True).start()\nasyncio.run(main())\n",
    "busy": BUSY,
    "waiting for ever": WAITING,
}


IMPORTING = """
import sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "sqlalchemy.pool":
            open(f"{sys.argv[1]}/begun", "w").close()
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                time.sleep(0.005)

sys.meta_path.insert(0, Slow())
import sqlalchemy as sa

engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool)
while True:
    with engine.connect() as connection:
        connection.execute(sa.text("select 1"))
    time.sleep(0.002)
"""


@contextlib.contextmanager
def application(
    directory: Path, code: str, executable: str = sys.executable, options: tuple[str, ...] = (), **more: str
) -> Iterator[int]:
    """Run the application in an interpreter that has SQLAlchemy on its path, and nothing of poolctl's."""
    directory.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(lean_packages(directory, executable)), **more}
    process = subprocess.Popen([executable, *options, "-c", code, str(directory)], env=environment, cwd=directory)
    try:
        wait_for(directory / "begun", process)
        yield process.pid
        assert process.poll() is None, "the application did not survive"
    finally:
        process.kill()
        process.wait()


def wait_for(path: Path, process: subprocess.Popen[bytes] | None = None) -> None:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until, f"no {path.name}"
        assert process is None or process.poll() is None, "the application ended"
        time.sleep(0.01)


def state_of(directory: Path, name: str) -> dict[str, object]:
    """Ask the application for its state."""
    (directory / f"tell-{name}").touch()
    told = directory / f"told-{name}"
    wait_for(told)
    state: dict[str, object] = json.loads(told.read_text())
    return state


def attach(runs: Path, pid: int, seconds: float = 0.7) -> Run:
    return observe(WatchPlan(pid=pid, seconds=seconds, runs_dir=runs))


@pytest.fixture
def handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory in which source lies that is handed over as a file."""
    directory = tmp_path / "handed over"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.mark.parametrize("version", INTERPRETERS)
def test_an_import_of_sqlalchemy_that_is_under_way_is_waited_for(tmp_path: Path, version: str) -> None:
    with application(tmp_path / "app", IMPORTING, INTERPRETERS[version]) as pid:
        found = tables(attach(tmp_path / "runs", pid, seconds=2.0))
    assert set(found.leases["end"]) <= {"returned", "open"}
    assert len(found.leases) > 10
    assert found.capture.errors == found.capture.dropped == 0


@pytest.mark.parametrize("version", INTERPRETERS)
@pytest.mark.parametrize("how", DRIVEN_BY)
def test_a_live_process_is_watched_and_left_as_it_was(
    tmp_path: Path, handed_over: Path, version: str, how: str
) -> None:
    with application(tmp_path / "app", DRIVEN_BY[how], INTERPRETERS[version]) as pid:
        was = state_of(tmp_path / "app", "before")
        run = attach(tmp_path / "runs", pid)
        assert state_of(tmp_path / "app", "after") == was
    found = tables(run)
    assert len(found.leases) > 20
    before = found.leases["function"] == "held since before capture began"
    held, rest = found.leases[before], found.leases[~before]
    assert list(held["end"]).count("open") == 1
    assert len(held) <= 2  # `work` may have had one out at that moment
    assert set(rest["function"]) == {"work"}
    assert (rest["end"] == "returned").sum() >= len(rest) - 1
    assert found.capture.errors == found.capture.dropped == 0
    assert list(Path("/dev/shm").glob(f"poolctl-{pid}-*")) == []  # noqa: S108 - where rings are
    assert list(handed_over.iterdir()) == []


def test_it_can_be_watched_again_and_grows_by_no_page(tmp_path: Path) -> None:
    with application(tmp_path / "app", BUSY) as pid:
        counts = []
        for number in range(3):
            run = attach(tmp_path / "runs", pid, 0.3)
            assert len(tables(run).leases) > 5
            state_of(tmp_path / "app", str(number))
            counts.append(len(Path(f"/proc/{pid}/maps").read_text().splitlines()))
    assert counts[2] - counts[1] <= 1


def test_the_stop_is_short_and_signals_and_sleeps_survive_it(tmp_path: Path) -> None:
    code = APPLICATION + (
        "import signal\ngot = []\nsignal.signal(signal.SIGUSR1, lambda *_: got.append(1))\n"
        "threading.Thread(target=live, daemon=True).start()\n"
        "for n in range(30):\n"
        "    began = time.monotonic()\n    time.sleep(0.1)\n    assert time.monotonic() - began >= 0.1\n"
        "open(f'{directory}/slept', 'w').write(str(len(got)))\nthreading.Event().wait()\n"
    )
    with application(tmp_path / "app", code) as pid:
        foothold = Foothold(look_at(pid))
        for number in range(10):
            told = tmp_path / f"mark-{number}"
            os.kill(pid, signal.SIGUSR1)
            foothold.run(f"open({str(told)!r}, 'w').close()", told.exists)
        foothold.leave()
        wait_for(tmp_path / "app" / "slept")
    assert int((tmp_path / "app" / "slept").read_text()) >= 1


def test_a_guest_whose_reader_was_killed_leaves_by_itself(tmp_path: Path) -> None:
    with application(tmp_path / "app", BUSY) as pid:
        before = state_of(tmp_path / "app", "before")
        poolctl = subprocess.Popen(
            [sys.executable, "-c", WATCHER, str(pid), str(tmp_path / "runs")], stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 30
        while not list(tmp_path.glob("runs/*/events-*")) and time.monotonic() < until:
            time.sleep(0.05)
        assert list(Path("/dev/shm").glob(f"poolctl-{pid}-*"))  # noqa: S108
        poolctl.kill()
        poolctl.wait()
        while list(Path("/dev/shm").glob(f"poolctl-{pid}-*")) and time.monotonic() < until:  # noqa: S108
            time.sleep(0.05)
        after = state_of(tmp_path / "app", "after")
        assert after["classes"] == before["classes"]
        [names] = tmp_path.glob("runs/*/names-*.jsonl")  # what was recorded until then can be read
        assert "work" in {entry["function"] for entry in read_names(names)["site"].values()}
        run = attach(tmp_path / "runs", pid, 0.3)
    assert len(tables(run).leases) > 5


WATCHER = """
import sys
from pathlib import Path
from poolctl.trace import drain
drain.PROMISE_NS = 10**9
from poolctl.watch.plan import WatchPlan
from poolctl.watch.session import observe
observe(WatchPlan(pid=int(sys.argv[1]), seconds=60, runs_dir=Path(sys.argv[2])))
"""


def test_a_full_disk_ends_the_window_and_leaves_the_application_as_it_was(tmp_path: Path) -> None:
    with application(tmp_path / "app", BUSY) as pid:
        before = state_of(tmp_path / "app", "before")
        limited = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n" + WATCHER
        watcher = subprocess.run(
            [sys.executable, "-c", limited, str(pid), str(tmp_path / "runs")],
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        assert "poolctl.errors.OutputError: cannot write" in watcher.stderr
        assert state_of(tmp_path / "app", "after") == before
    [events] = tmp_path.glob("runs/*/events-*.bin")
    assert events.stat().st_size % 64 == 0
    assert len(tables(Run(events.parent)).leases) > 20


def test_the_children_of_a_process_are_watched_with_it_those_to_come_as_well(tmp_path: Path) -> None:
    code = APPLICATION + (
        "held.close()\nengine.dispose()\n"
        "def child():\n    if not (pid := os.fork()): live()\n    return pid\n"
        "first = child()\n"
        "while not os.path.exists(f'{directory}/fork'): work(); time.sleep(0.01)\n"
        "second = child()\n"
        "threading.Thread(target=live, daemon=True).start()\n"
        "while not os.path.exists(f'{directory}/end'): time.sleep(0.01)\n"
        "os.kill(first, 9), os.kill(second, 9)\nthreading.Event().wait()"
    )
    app = tmp_path / "app"
    with application(app, code) as pid:
        threading.Timer(1.0, (app / "fork").touch).start()
        run = attach(tmp_path / "runs", pid, 3.0)
        found = tables(run)
        processes = {int(number) for number in found.leases["process"].unique()}
        assert pid in processes
        assert len(processes) == 3
        said = (run.path / "guests.txt").read_text().splitlines()
        assert {int(line.split()[0]) for line in said if line.endswith(" left")} == processes
        assert [path for number in processes for path in Path("/dev/shm").glob(f"poolctl-{number}-*")] == []  # noqa: S108
        (app / "end").touch()
        time.sleep(0.3)


@pytest.mark.parametrize("version", INTERPRETERS)
def test_a_source_that_was_not_seen_to_run_keeps_what_it_lies_in(
    tmp_path: Path, handed_over: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr("poolctl.target.attach_pid.PATIENCE_S", 0.3)
    late = tmp_path / "late"
    code = APPLICATION + (  # a main thread that is busy in C, with the interpreter's lock, for a second
        "open(f'{directory}/busy', 'w').close()\nsum(range(60_000_000))\nlive()\n"
    )
    with application(tmp_path / "app", code, INTERPRETERS[version]) as pid:
        wait_for(tmp_path / "app" / "busy")
        foothold = Foothold(look_at(pid))
        with pytest.raises(TargetError, match="too busy"):
            foothold.run(f"open({str(late)!r}, 'w').close()", late.exists)
        foothold.leave()
        wait_for(late)
        assert list(handed_over.iterdir()) == []  # when it ran, and nobody waited any more
        monkeypatch.setattr("poolctl.target.attach_pid.PATIENCE_S", 10.0)
        again = tmp_path / "again"
        foothold.run(f"open({str(again)!r}, 'w').close()", again.exists)
        foothold.leave()
        assert state_of(tmp_path / "app", "after")["poolctl"] == []
        assert list(handed_over.iterdir()) == []


@pytest.mark.server
def test_attaching_again_and_again_under_load_fails_no_request(tmp_path: Path, postgres_url: str) -> None:
    with patient("sick_async", postgres_url) as sick, sick.running() as process:
        stop = threading.Event()

        def client() -> None:
            while not stop.is_set():
                sick.ask("healthy")

        clients = [threading.Thread(target=client) for _ in range(6)]
        for thread in clients:
            thread.start()
        try:
            for number in range(6):
                assert len(tables(attach(tmp_path / str(number), process.pid, 0.4)).leases) > 5
        finally:
            stop.set()
            for thread in clients:
                thread.join()
    assert sick.errors == []


def test_two_watchers_of_one_process_are_told_apart(tmp_path: Path) -> None:
    with application(tmp_path / "app", BUSY) as pid:
        first = subprocess.Popen([sys.executable, "-c", WATCHER, str(pid), str(tmp_path / "first")])
        try:
            until = time.monotonic() + 30
            while not list(tmp_path.glob("first/*/run.json")) and time.monotonic() < until:
                time.sleep(0.05)
            with pytest.raises(TargetError, match="another poolctl is watching"):
                attach(tmp_path / "second", pid)
            assert first.poll() is None
        finally:
            first.send_signal(signal.SIGINT)
            first.wait(20)
        assert list(tmp_path.glob("first/*/events-*"))
        assert len(tables(attach(tmp_path / "third", pid, 0.3)).leases) > 5


def test_a_process_without_sqlalchemy_is_one_clear_line_and_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolctl.watch.session.PATIENCE_S", 0.5)
    code = "import time, sys\nopen(sys.argv[1] + '/begun', 'w').close()\nwhile True: time.sleep(0.01)"
    with (
        application(tmp_path / "app", code) as pid,
        pytest.raises(TargetError, match=f"process {pid} has not imported SQLAlchemy"),
    ):
        attach(tmp_path / "runs", pid, 0.3)
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("version", INTERPRETERS)
def test_a_process_that_ends_within_the_window_ends_the_window(tmp_path: Path, handed_over: Path, version: str) -> None:
    code = APPLICATION + "for n in range(100): work(); time.sleep(0.01)\n"
    directory = tmp_path / "app"
    with contextlib.suppress(AssertionError), application(directory, code, INTERPRETERS[version]) as pid:
        run = attach(tmp_path / "runs", pid, 60)
    assert run.read_meta()["end_detail"] == f"process {pid} ended"
    assert len(tables(run).leases) > 1
    assert list(handed_over.iterdir()) == []


def own_copy(directory: Path, version: str, name: str) -> tuple[str, dict[str, str]]:
    """Return a program of that name, which is the interpreter, and the environment that it needs there."""
    asked = [INTERPRETERS[version], "-c", "import os, sys; print(os.path.realpath(sys.executable), sys.base_prefix)"]
    real, home = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    return shutil.copy(real, directory / name), {"PYTHONHOME": home, "LD_LIBRARY_PATH": f"{home}/lib"}


@pytest.mark.parametrize("version", INTERPRETERS)
def test_a_program_that_is_no_interpreter_is_attached_to_without_being_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    program, needs = own_copy(tmp_path, version, "service")
    with application(tmp_path / "app", WAITING, program, **needs) as pid:
        before = state_of(tmp_path / "app", "before")
        ran: list[object] = []
        monkeypatch.setattr(subprocess, "run", lambda *words, **_: ran.append(words))
        assert len(tables(attach(tmp_path / "runs", pid, 0.3)).leases) > 5
        assert ran == []
        assert state_of(tmp_path / "app", "after") == before


@pytest.mark.parametrize("version", INTERPRETERS)
def test_a_process_whose_interpreter_was_removed_since_is_watched_as_ever(tmp_path: Path, version: str) -> None:
    program, needs = own_copy(tmp_path, version, "python3")
    with application(tmp_path / "app", BUSY, program, **needs) as pid:
        Path(program).unlink()
        assert len(tables(attach(tmp_path / "runs", pid, 0.3)).leases) > 5


@pytest.mark.parametrize("version", INTERPRETERS)
@pytest.mark.parametrize("embedded", [False, True], ids=["an interpreter", "a program that embeds it"])
@pytest.mark.parametrize("by", ["variable", "option"])
def test_remote_debugging_switched_off_is_respected_where_there_is_such_a_switch(
    tmp_path: Path, handed_over: Path, version: str, embedded: bool, by: str
) -> None:
    program, needs = own_copy(tmp_path, version, "service") if embedded else (INTERPRETERS[version], {})
    options = ("-X", "disable-remote-debug") if by == "option" else ()
    variable = {"PYTHON_DISABLE_REMOTE_DEBUG": ""} if by == "variable" else {}
    has_switch = tuple(map(int, version.split("."))) >= remote_exec.OLDEST
    refused = pytest.raises(TargetError, match="remote debugging switched off") if has_switch else None
    with application(tmp_path / "app", BUSY, program, options, **needs, **variable) as pid:
        before = state_of(tmp_path / "app", "before")
        with refused or contextlib.nullcontext():
            attach(tmp_path / "runs", pid, 0.3)
        assert state_of(tmp_path / "app", "after") == before
    assert list(handed_over.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("version", INTERPRETERS)
def test_another_user_s_program_is_never_run_by_root(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    code = "import os, time\nos.setgid(65534), os.setuid(65534)\nprint(flush=True)\nwhile True: time.sleep(0.01)"
    with tempfile.TemporaryDirectory() as name:
        told = Path(name, "told")
        told.parent.chmod(0o777)
        process = subprocess.Popen([INTERPRETERS[version], "-c", code], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            ran: list[object] = []
            monkeypatch.setattr(subprocess, "run", lambda *words, **_: ran.append(words))
            foothold = Foothold(look_at(process.pid))
            foothold.run(f"open({str(told)!r}, 'w').close()", told.exists)
            foothold.leave()
            assert told.stat().st_uid == 65534
            assert ran == []
            assert process.poll() is None
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    time.sleep(0.2)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda _: -3, UsageError, "-3 is not a process id"),
        (lambda _: os.getpid(), UsageError, "is poolctl itself"),
        (lambda _: 2**22 - 1, TargetError, "there is no process 4194303"),
        (lambda child: child("sleep", "60"), TargetError, r"\(sleep\) is not a Python process"),
    ],
    ids=["no id", "poolctl", "nobody", "not Python"],
)
def test_what_must_not_be_attached_to_is_one_clear_line(
    tmp_path: Path, make: object, kind: type[PoolctlError], message: str
) -> None:
    children: list[subprocess.Popen[bytes]] = []

    def child(*words: str) -> int:
        children.append(subprocess.Popen(words))
        time.sleep(0.2)
        return children[-1].pid

    try:
        with pytest.raises(kind, match=message) as raised:
            attach(tmp_path, make(child))  # type: ignore[operator]
    finally:
        for process in children:
            process.kill()
            process.wait()
    assert raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_traced_process_names_its_tracer(sleeper: subprocess.Popen[bytes]) -> None:
    tracer = subprocess.Popen([sys.executable, "-c", TRACER, str(sleeper.pid)], stdout=subprocess.PIPE)
    assert tracer.stdout is not None
    tracer.stdout.readline()
    try:
        with pytest.raises(TargetError, match=f"process {sleeper.pid} is being traced by process {tracer.pid}"):
            Foothold(look_at(sleeper.pid)).run("1", lambda: False)
    finally:
        tracer.kill()
        tracer.wait()
        tracer.stdout.close()
    assert sleeper.poll() is None


def test_a_stopped_process_says_how_to_let_it_go_on(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.send_signal(signal.SIGSTOP)
    os.waitpid(sleeper.pid, os.WUNTRACED)
    with pytest.raises(TargetError, match=f"process {sleeper.pid} is stopped") as raised:
        attach(tmp_path, sleeper.pid)
    assert raised.value.hint == f"let it go on first: kill -CONT {sleeper.pid}"
    sleeper.send_signal(signal.SIGCONT)


def test_a_thread_s_number_names_its_process(tmp_path: Path) -> None:
    with application(tmp_path / "app", WAITING) as pid:
        thread = next(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir() if path.name != str(pid))
        with pytest.raises(TargetError, match=f"{thread} is a thread of process {pid}"):
            attach(tmp_path / "runs", thread)


TRACER = """
import sys, time
from poolctl.target.ptrace import SEIZE, _ptrace
_ptrace(SEIZE, int(sys.argv[1]), 0, 0)
print("traced", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_s_process_says_whom_to_be(sleeper: subprocess.Popen[bytes]) -> None:
    said = refusal(sleeper.pid, "os.setgid(65534); os.setuid(65534)")
    assert said == f"process {sleeper.pid} belongs to root: not permitted to attach | run poolctl as root\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up what root may do")
def test_root_is_not_told_to_become_root(sleeper: subprocess.Popen[bytes]) -> None:
    status = Path("/proc/self/status").read_text().splitlines()
    held = int(next(line.split()[1] for line in status if line.startswith("CapEff")), 16)
    if not held >> 19 & 1:
        pytest.skip("root without SYS_PTRACE, which is what the test would make of it")
    left = held & ~(1 << 19)
    give_up = (
        "import ctypes, struct\n"
        "head = struct.pack('<Ii', 0x20080522, 0)\n"  # capset(2), version 3, of this process
        f"low, high = {left} & 0xffffffff, {left} >> 32\n"
        "assert ctypes.CDLL(None).capset(head, struct.pack('<6I', low, low, 0, high, high, 0)) == 0"
    )
    assert refusal(sleeper.pid, give_up) == (
        f"not permitted to attach to process {sleeper.pid}: root without the capability SYS_PTRACE, as in a container "
        "| run the container with --cap-add=SYS_PTRACE, or start it with `poolctl diagnose -- COMMAND` instead\n"
    )


def refusal(pid: int, first: str) -> str:
    """What is said to somebody who looks at a process after having done something first."""
    code = (
        f"import sys\nsys.path.insert(0, sys.argv[2])\nfrom poolctl.target.process import look_at\nimport os\n{first}\n"
        "try: look_at(int(sys.argv[1]))\nexcept Exception as e: print(e.message, '|', e.hint)"
    )
    root = str(Path(__file__).parents[2])
    said = subprocess.run([sys.executable, "-c", code, str(pid), root], capture_output=True, text=True, check=False)
    assert not said.stderr
    return said.stdout


@pytest.mark.server
@pytest.mark.parametrize("app", ["sick_async", "sick_sync"])
def test_planted_defects_are_seen_in_a_server_that_was_running(tmp_path: Path, app: str, postgres_url: str) -> None:
    url = postgres_url if app == "sick_async" else postgres_url.replace("asyncpg", "psycopg")
    with patient(app, url) as sick, sick.running() as process:
        sick.ask("leak")
        run = watch_while(sick, WatchPlan(pid=process.pid, seconds=60, runs_dir=tmp_path))
        assert int(sick.get("healthy")) == process.pid
    assert sick.errors == []
    found = tables(run)
    assert_defects_are_seen(found, app)
    before = found.leases[found.leases["function"] == "held since before capture began"]
    assert list(before["end"]) == ["open"]
    assert (found.leases["backend_pid"] > 0).all()
