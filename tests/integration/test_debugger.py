"""gdb, where poolctl's own way in ends. What needs a real gdb is collected where one is installed that works."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolctl.analysis.leases import tables
from poolctl.errors import TargetError
from poolctl.target import debugger
from poolctl.target.attach_pid import Foothold
from poolctl.target.process import look_at
from poolctl.watch.plan import WatchPlan
from poolctl.watch.session import observe

GDB = shutil.which("gdb")
GDB_CALLS = GDB is not None and not debugger.fault_of(GDB)
"""Debian 12's does not on a processor with AMX."""
COMPILER = shutil.which("cc")
STATIC_PYTHON = Path(str(sysconfig.get_config_var("LIBPL")), str(sysconfig.get_config_var("LIBRARY")))

LIVES = {
    "busy": "while True: sum(range(1000))",
    "waiting for ever": "import threading\nwhile True: threading.Event().wait()",
    "now and then": "import time\nwhile True: time.sleep(0.05)",
}


@contextmanager
def python(code: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does this, and survives the block."""
    command = command or (sys.executable, "-c")
    process = subprocess.Popen([*command, code.replace("while", "print(1, flush=True)\nwhile")], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        time.sleep(0.2)
        assert process.poll() is None, "it did not survive"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr] # a pipe


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of which poolctl's own ptrace knows nothing."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")


def run(process: subprocess.Popen[bytes], flag: Path) -> None:
    """Have it write two files, one after the other."""
    foothold = Foothold(look_at(process.pid))
    for name in ("one", "two"):
        written = flag.with_name(name)
        foothold.run(f"open({str(written)!r}, 'w').close()", written.exists)
    foothold.leave()


def test_without_gdb_it_says_what_to_install(tmp_path: Path, elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        python(LIVES["busy"]) as process,
        pytest.raises(TargetError, match="aarch64 takes gdb, which is not") as raised,
    ):
        run(process, tmp_path / "flag")
    assert raised.value.hint == "install gdb"


FAILING = {
    "one that ends": ("echo cannot load a library; exit 1", "cannot load a library"),
    "one that knows no such processor": (
        'while read line; do case "$line" in echo*) echo poolctl-end;; *) echo bad registers;; esac; done',
        "bad registers",
    ),
    "one that hangs": ("trap '' INT; exec sleep 60", "it did not come back"),
}


@pytest.mark.parametrize("what", FAILING)
def test_a_gdb_that_does_not_work_never_touches_the_process(
    tmp_path: Path, elsewhere: None, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    script, why = FAILING[what]
    (tmp_path / "gdb").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "gdb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("START_S", "GRACE_S"):
        monkeypatch.setattr(debugger, name, 0.5)
    with python(LIVES["busy"]) as process, pytest.raises(TargetError) as raised:
        run(process, tmp_path / "flag")
    assert raised.value.message.startswith("the gdb of this machine cannot call functions in a process: ")
    assert why in raised.value.message
    assert "\n" not in raised.value.message


APPLICATION = """
import sys, time
import sqlalchemy as sa
engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool)
def work():
    with engine.connect() as connection:
        connection.execute(sa.text("select 1"))
while True:
    work()
    time.sleep(0.002)
"""

if GDB_CALLS:

    @pytest.mark.parametrize("life", LIVES)
    def test_on_another_machine_source_is_run_and_the_process_goes_on(
        tmp_path: Path, elsewhere: None, life: str
    ) -> None:
        with python(LIVES[life]) as process:
            run(process, tmp_path / "flag")

    def test_a_call_that_does_not_come_back_is_broken_off(elsewhere: None) -> None:
        with python(LIVES["now and then"]) as process:
            with pytest.raises(TargetError, match=r"did not answer in 0\.5 s"):
                debugger.while_stopped(process.pid, lambda held: held.call("sleep", 60, limit_s=0.5))
            assert debugger.while_stopped(process.pid, lambda held: held.call("getpid")) == process.pid

    def test_on_another_machine_a_live_process_is_watched(tmp_path: Path, elsewhere: None) -> None:
        with python(APPLICATION) as process:
            found = tables(observe(WatchPlan(pid=process.pid, seconds=0.7, runs_dir=tmp_path / "runs")))
        assert set(found.leases["function"]) == {"work"}
        assert found.capture.errors == found.capture.dropped == 0


if GDB and COMPILER and STATIC_PYTHON.is_file():
    EMBEDDING = """
    extern void Py_Initialize(void); extern int PyRun_SimpleString(const char *);
    int main(int count, char **words) { Py_Initialize(); return PyRun_SimpleString(words[1]); }
    """

    @pytest.fixture
    def embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A program with a Python inside whose functions it does not export."""
        monkeypatch.setenv("PYTHONHOME", sys.base_prefix)
        (tmp_path / "main.c").write_text(EMBEDDING)
        program = tmp_path / "shop"
        more = " ".join(str(sysconfig.get_config_var(name) or "") for name in ("MODLIBS", "LIBS", "SYSLIBS")).split()
        made = subprocess.run(
            [str(COMPILER), "-o", program, tmp_path / "main.c", STATIC_PYTHON, "-lpthread", *more],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        return program

    @pytest.mark.skipif(platform.machine() != "x86_64", reason="run by ptrace, once found")
    @pytest.mark.parametrize("where", ["in it", "in a file of debug information"])
    def test_functions_that_a_program_does_not_export_are_found_by_gdb(
        tmp_path: Path, embedding: Path, where: str
    ) -> None:
        if where != "in it":
            apart = embedding.with_suffix(".debug")
            subprocess.run(["objcopy", "--only-keep-debug", embedding, apart], check=True)
            subprocess.run(["objcopy", "--strip-all", f"--add-gnu-debuglink={apart}", embedding], check=True)
        with python(LIVES["now and then"], str(embedding)) as process:
            assert look_at(process.pid).version == sys.version_info[:2]
            run(process, tmp_path / "flag")

    def test_a_program_without_symbols_says_so(embedding: Path) -> None:
        subprocess.run(["strip", embedding], check=True)
        with python(LIVES["busy"], str(embedding)) as process:
            with pytest.raises(TargetError, match=r"\(shop\) is a Python without symbols") as raised:
                look_at(process.pid)
            assert "-- COMMAND" in raised.value.hint
