"""What may go wrong around a watched application: it goes on, and what was recorded until then can be read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import clean_environment, poolctl

APPLICATION = """
import os, sys, time
import sqlalchemy as sa
engine = sa.create_engine(f"sqlite:///{sys.argv[1]}/data.sqlite", poolclass=sa.QueuePool)

def work():
    engine.pool.connect().close()

def tell(name):
    with open(f"{sys.argv[1]}/.{name}", "w") as file:
        file.write(str(os.getpid()))
    os.rename(f"{sys.argv[1]}/.{name}", f"{sys.argv[1]}/{name}")

def told(name):
    return os.path.exists(f"{sys.argv[1]}/{name}")

work()
"""


def wait_for(true: Callable[[], object], process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, "poolctl ended"
        assert time.monotonic() < until
        time.sleep(0.02)


def diagnose(directory: Path, code: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Run the application under `poolctl diagnose`, with its files in `directory`."""
    script = directory / "app.py"
    script.write_text(APPLICATION + code)
    words = [sys.executable, "-m", "poolctl", "diagnose", "--format", "json", "--window", "10m", "--"]
    return subprocess.Popen(
        [*words, sys.executable, str(script), str(directory)],
        cwd=cwd or directory,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def has_begun(directory: Path) -> Callable[[], object]:
    return lambda: list(directory.glob(".poolctl/runs/*/run.json"))


def test_an_application_never_waits_for_a_reader_that_stands_still_and_what_was_lost_is_said(tmp_path: Path) -> None:
    code = "tell('up')\nwhile not told('go'): time.sleep(0.01)\nfor _ in range(100_000): work()\ntell('done')\n"
    code += "while not told('end'): time.sleep(0.01)\nfor _ in range(50): work()\n"
    process = diagnose(tmp_path, code)
    try:
        wait_for(has_begun(tmp_path), process)
        wait_for((tmp_path / "up").exists, process)
        process.send_signal(signal.SIGSTOP)
        (tmp_path / "go").touch()
        wait_for((tmp_path / "done").exists, process)  # 100,000 leases go round in a ring of 65,536 records
        process.send_signal(signal.SIGCONT)
        (tmp_path / "end").touch()
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in (0, 4), err  # 4: a window too short to judge
    report = json.loads(out)
    assert report["capture"]["dropped"] > 10_000
    assert report["capture"]["errors"] == 0
    assert "PC901" in {finding["code"] for finding in report["findings"]}
    assert 50 < report["leases"]["returned"] < 100_000


def test_a_killed_application_is_read_up_to_its_last_record_and_a_torn_file_up_to_its_last_whole_one(
    tmp_path: Path,
) -> None:
    code = "for _ in range(500): work()\nkept = engine.connect()\ntell('up')\nwhile True: time.sleep(1)\n"
    process = diagnose(tmp_path, code)
    try:
        wait_for((tmp_path / "up").exists, process)
        subprocess.run(["kill", "-9", (tmp_path / "up").read_text()], check=True)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in (0, 4), err  # 4: a window too short to judge
    report = json.loads(out)
    assert (report["leases"]["returned"], report["leases"]["open"]) == (501, 1)
    assert report["capture"]["dropped"] == report["capture"]["errors"] == 0
    [events] = tmp_path.glob(".poolctl/runs/*/events-*.bin")
    size = events.stat().st_size
    with events.open("r+b") as file:
        file.truncate(size - 40)  # in the middle of the checkout of the one that is open
    again = poolctl("report", "last", "--format", "json", cwd=tmp_path)
    assert again.err == ""
    leases = json.loads(again.out)["leases"]
    assert (leases["returned"], leases["open"]) == (501, 1)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with little room."""
    place = tmp_path / "full"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only root may mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_ends_the_window_with_one_line_and_keeps_what_fitted(tmp_path: Path, full: Path) -> None:
    code = "while not told('end'):\n    for _ in range(100): work()\n    time.sleep(0.01)\ntell('fine')\n"
    code = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: tell('end'))\n" + code
    process = diagnose(tmp_path, code, cwd=full)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (2, b"")
    errors = err.decode().splitlines()
    assert errors[-2].startswith("error: cannot write ")
    assert "No space left on device" in errors[-2]
    assert errors[-1].startswith("hint: free some space")
    assert (tmp_path / "fine").exists(), "the application ended as it wanted to"
    report = poolctl("report", "last", "--format", "json", cwd=full)
    assert json.loads(report.out)["leases"]["returned"] > 100
