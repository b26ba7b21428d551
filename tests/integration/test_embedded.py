"""The embedded PostgreSQL: real, private, and gone afterwards, whatever happened to poolctl."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from poolctl.errors import OutputError, TargetError
from poolctl.target import embedded, keeper
from poolctl.target.embedded import EmbeddedPostgres

pytestmark = pytest.mark.server

NOBODY = 65534

OWNER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
from poolctl.target.embedded import EmbeddedPostgres
with EmbeddedPostgres() as postgres:
    print(postgres.pid, postgres.directory, postgres.url, flush=True)
    time.sleep(120)
"""


def ask(url: str, statement: str) -> str:
    async def run() -> str:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            return str((await connection.execute(text(statement))).scalar())

    return asyncio.run(run())


def eventually(true: Callable[[], bool], patience_s: float = 20.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def shared_memory(process: psutil.Process) -> set[Path]:
    """Return PostgreSQL's shared memory that a process has mapped, as files."""
    try:
        lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    return {Path(line.split()[5]) for line in lines if "/PostgreSQL." in line}


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[str]]:
    """A process that owns an embedded server; killed when the test is over."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    yield process
    process.kill()
    process.communicate()


def its_server(owner: subprocess.Popen[str]) -> tuple[int, Path, str]:
    assert owner.stdout is not None
    pid, directory, url = owner.stdout.readline().split()
    return int(pid), Path(directory), url


def test_it_answers_while_it_runs_and_leaves_nothing() -> None:
    with EmbeddedPostgres() as postgres:
        assert ask(postgres.url, "show listen_addresses") == ""
        assert ask(postgres.url, "show max_connections") == "100"
        assert ask(postgres.url, "show fsync") == "off"
        assert postgres.log.is_file()
        assert postgres.directory.stat().st_mode & 0o077 == 0
        pid = postgres.pid
    assert gone(pid)
    assert not postgres.directory.exists()
    postgres.stop()  # a second time: nothing to do


def test_two_at_once_know_nothing_of_each_other() -> None:
    with EmbeddedPostgres() as one, EmbeddedPostgres() as other:
        ask(one.url, "select 1 from pg_create_physical_replication_slot('mark')")
        assert ask(one.url, "select count(*) from pg_replication_slots") == "1"
        assert ask(other.url, "select count(*) from pg_replication_slots") == "0"


def test_an_exception_in_the_block_stops_it() -> None:
    with pytest.raises(KeyError), EmbeddedPostgres() as postgres:
        raise KeyError
    assert gone(postgres.pid)
    assert not postgres.directory.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_poolctl_leaves_no_server_and_no_directory(
    owner: subprocess.Popen[str], number: signal.Signals
) -> None:
    pid, directory, url = its_server(owner)
    assert ask(url, "select 1") == "1"
    owner.send_signal(number)
    assert eventually(lambda: gone(pid))
    assert eventually(lambda: not directory.exists())


def test_open_sessions_do_not_keep_it_alive() -> None:
    with EmbeddedPostgres() as postgres:

        async def leave_open() -> None:
            engine = create_async_engine(postgres.url)
            connection = await engine.connect()
            await connection.execute(text("select pg_sleep(0)"))
            started = time.monotonic()
            await asyncio.to_thread(postgres.stop)
            assert time.monotonic() - started < keeper.FAST_STOP_S
            with contextlib.suppress(Exception):
                await connection.invalidate()
            await connection.close()
            await engine.dispose()

        asyncio.run(leave_open())
    assert gone(postgres.pid)


def test_a_killed_keeper_takes_its_server_along(owner: subprocess.Popen[str]) -> None:
    pid, directory, _ = its_server(owner)
    try:
        psutil.Process(pid).parent().kill()  # type: ignore[union-attr]
        assert eventually(lambda: gone(pid))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_a_terminated_keeper_cleans_up(owner: subprocess.Popen[str]) -> None:
    pid, directory, _ = its_server(owner)
    psutil.Process(pid).parent().terminate()  # type: ignore[union-attr]
    assert eventually(lambda: gone(pid))
    assert eventually(lambda: not directory.exists())


def test_a_keeper_minds_no_interrupt_and_no_hangup() -> None:
    with EmbeddedPostgres() as postgres:
        keeping = psutil.Process(postgres.pid).parent()
        assert keeping is not None
        for number in (signal.SIGINT, signal.SIGHUP):
            keeping.send_signal(number)
        assert ask(postgres.url, "select 1") == "1"
        assert keeping.is_running()


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.2, 0.4])
def test_a_poolctl_killed_while_it_starts_leaves_nothing(after_s: float) -> None:
    seen: set[Path] = set()
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, str(embedded.find_binaries())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={"TMPDIR": place},
        )
        assert process.stdin is not None
        until = time.monotonic() + after_s  # somewhere before, inside or after initdb
        while time.monotonic() < until:
            with contextlib.suppress(psutil.NoSuchProcess):
                starting = psutil.Process(process.pid).children(recursive=True)
                seen = seen.union(*map(shared_memory, starting))
        process.stdin.close()
        assert process.wait(20) == 0
        assert list(Path(place).iterdir()) == []
        # What initdb had started was killed with it: dead, and maybe not buried yet.
        assert eventually(lambda: not [p for p in psutil.process_iter(["cmdline"]) if place in str(p.info["cmdline"])])
    assert not [segment for segment in seen if segment.exists()]


def test_a_server_that_died_is_cleaned_up_after() -> None:
    with EmbeddedPostgres() as postgres:
        segments = shared_memory(psutil.Process(postgres.pid))
        assert [segment.exists() for segment in segments] == [True]
        os.kill(postgres.pid, signal.SIGKILL)
        assert eventually(lambda: gone(postgres.pid))
        assert postgres.log.exists()
    assert not postgres.directory.exists()
    assert not [segment for segment in segments if segment.exists()]


def keeper_answers(before: str) -> dict[str, Any]:
    """Run the keeper after `before`, with the order to stop as soon as it has answered; return its answer."""
    code = (
        "import os, pathlib, sys, tempfile; sys.path.insert(0, sys.argv[1]); import keeper; "
        f"{before}; sys.exit(keeper.main(pathlib.Path(sys.argv[2])))"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code, str(Path(keeper.__file__).parent), str(embedded.find_binaries())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.wait(20) == 0
    return answer


def test_a_temporary_directory_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = keeper_answers(f"tempfile.tempdir = {str(tmp_path / 'file')!r}")
    assert answer["output"] is True
    assert answer["error"] == f"cannot write to {tmp_path / 'file'}: Not a directory"
    assert "TMPDIR" in answer["hint"]


def test_a_long_temporary_directory_does_not_make_the_socket_path_too_long() -> None:
    with tempfile.TemporaryDirectory(prefix="x" * 90) as place:
        Path(place).chmod(0o755)
        answer = keeper_answers(f"tempfile.tempdir = {place!r}")
        assert answer["directory"].startswith(place)
        assert not answer["host"].startswith(place)
        assert list(Path(place).iterdir()) == []
        assert not Path(answer["host"]).exists()


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else, and only root needs to")


@AS_ROOT
def test_a_temporary_directory_that_the_server_cannot_enter_is_one_clear_line(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o700)
    answer = keeper_answers(f"tempfile.tempdir = {str(inner)!r}")
    assert "cannot be entered by the user 'nobody'" in answer["error"]
    assert list(inner.iterdir()) == []


@AS_ROOT
def test_binaries_that_the_server_cannot_enter_are_copied() -> None:
    found = embedded.find_binaries().resolve()
    package = found.parent.parent
    with tempfile.TemporaryDirectory() as closed:  # mode 0700 and root's, like a venv below /root
        shutil.copytree(found.parent, Path(closed) / package.name / found.parent.name)
        shutil.copytree(package.with_name(f"{package.name}.libs"), Path(closed) / f"{package.name}.libs")
        answer = keeper_answers(f"sys.argv[2] = {str(Path(closed) / package.name / found.parent.name / 'bin')!r}")
    assert answer.get("pid"), answer


@AS_ROOT
def test_a_system_without_a_user_to_run_as_is_one_clear_line() -> None:
    answer = keeper_answers("keeper.UNPRIVILEGED = 'no-such-user'")
    assert "no user 'no-such-user'" in answer["error"]


@AS_ROOT
def test_it_works_for_a_normal_user_too() -> None:
    with tempfile.TemporaryDirectory() as place:
        shutil.chown(place, NOBODY, NOBODY)
        become = f"tempfile.tempdir = {place!r}; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"
        answer = keeper_answers(become)
        assert answer.get("pid"), answer
        assert list(Path(place).iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_is_one_clear_line_and_leaves_nothing() -> None:
    script = (
        'mount -t tmpfs -o size=20m,mode=1777 none "$1" || exit 77; '
        'export TMPDIR="$1"; "$2" -c "from poolctl.target.embedded import EmbeddedPostgres\n'
        "from poolctl.errors import OutputError\n"
        "try: EmbeddedPostgres().start()\n"
        'except OutputError as error: print(error.message, error.hint, sep=chr(10))"; ls "$1"; umount "$1"'
    )
    process = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", "/mnt", sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode == 77 or "unshare" in process.stderr:
        pytest.skip("mounting is not allowed here")
    message, hint = process.stdout.splitlines()  # and no third line: the directory is empty
    assert "no space left on the device" in message
    assert "TMPDIR" in hint


def test_a_keeper_that_cannot_run_is_a_target_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "__file__", "/nowhere/keeper.py")
    with pytest.raises(TargetError, match="without a word"):
        EmbeddedPostgres().start()


def test_an_unwritable_temporary_directory_is_an_output_error(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = b'{"error": "cannot write to /x: Permission denied", "hint": "set TMPDIR", "output": true}\n'
    with tempfile.TemporaryFile() as answer:
        answer.write(refused)
        answer.seek(0)
        with pytest.raises(OutputError, match="cannot write to /x"):
            EmbeddedPostgres._read_answer(answer)
