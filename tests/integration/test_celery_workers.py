"""Celery's prefork workers, started under capture or attached to: each task's connections carry the task's name."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import celery
import pytest
from sick_apps import APPS, line_of

from poolctl.analysis.leases import tables
from poolctl.watch.plan import WatchPlan
from poolctl.watch.session import observe

WORKER = (
    *(sys.executable, "-m", "celery", "-A", "shop_tasks", "worker", "-P", "prefork", "-c", "2", "--loglevel", "ERROR"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    queue = tmp_path / "queue"
    queue.mkdir()
    more = {
        "PYTHONPATH": str(APPS),
        "QUEUE": str(queue),
        "DATABASE_URL": f"sqlite:///{tmp_path}/data.db",
        "PYTHONWARNINGS": "ignore",
    }
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    return os.environ | more


def send_and_wait(directory: Path, numbers: range) -> None:
    """Send tasks, and wait until they are done."""
    queue = str(directory / "queue")
    options = {"data_folder_in": queue, "data_folder_out": queue, "control_folder": f"{queue}/control"}
    with celery.Celery("sender", broker="filesystem://", set_as_current=False) as sender:
        sender.conf.update(broker_transport_options=options)
        for number in numbers:
            sender.send_task("shop.bill", (number,))
    until = time.monotonic() + 60
    while not all((directory / f"billed-{number}").exists() for number in numbers):
        assert time.monotonic() < until, "the worker does nothing"
        time.sleep(0.05)


@contextlib.contextmanager
def sent_meanwhile(directory: Path) -> Iterator[None]:
    """Once the window has begun, have the worker do something; then end the window."""

    def send() -> None:
        try:
            until = time.monotonic() + 60
            while not list(directory.glob("runs/*/run.json")) and time.monotonic() < until:
                time.sleep(0.05)
            send_and_wait(directory, range(8))
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextlib.contextmanager
def worker(environment: dict[str, str], directory: Path) -> Iterator[int]:
    process = subprocess.Popen(WORKER, env=environment, cwd=directory, stdout=subprocess.DEVNULL)
    try:
        send_and_wait(directory, range(100, 101))
        yield process.pid
        assert process.poll() is None, "the worker did not survive"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


ATTACHABLE = sys.platform == "linux" and platform.machine() == "x86_64"
WAYS = ["launch", pytest.param("pid", marks=pytest.mark.skipif(not ATTACHABLE, reason="attaching is for x86-64 Linux"))]


@pytest.mark.parametrize("way", WAYS)
def test_a_task_s_connections_carry_its_name(tmp_path: Path, environment: dict[str, str], way: str) -> None:
    with contextlib.ExitStack() as stack:
        where = {"pid": stack.enter_context(worker(environment, tmp_path))} if way == "pid" else {"command": WORKER}
        stack.enter_context(sent_meanwhile(tmp_path))
        run = observe(WatchPlan(**where, seconds=120, runs_dir=tmp_path / "runs"))  # type: ignore[arg-type]
    found = tables(run)
    assert set(found.leases["context"]) == {"shop.bill"}
    assert set(found.leases["line"]) == {line_of("shop_tasks", "bill")}
    assert len(found.leases) == 8
    assert found.capture.errors == found.capture.dropped == 0
