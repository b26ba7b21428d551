"""Logs that nothing can be made of are refused in one line that says what to switch on; odd lines are counted."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from pool_lines import Line, Told, full, gunicorn_seconds, json_lines, read, untimed

from poolctl.errors import InputError, OutputError
from poolctl.target.log_blind import SNIPPET
from poolctl.target.pool_log import read_log
from poolctl.trace.run import Run

A = 0x7F01


def refusal(path: Path, root: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path, root)
    return caught.value


def written(root: Path, text: str) -> Path:
    path = root / "app.log"
    path.write_text(text)
    return path


def test_a_log_that_speaks_of_no_pool_is_refused_with_what_to_switch_on(tmp_path):
    error = refusal(written(tmp_path, "INFO: connection open\nGET / 200\n" * 10), tmp_path)
    assert error.message == "app.log (20 lines) says nothing of a connection pool"
    assert 'logging.getLogger("sqlalchemy.pool").setLevel(logging.DEBUG)' in error.hint
    assert "\n" not in error.message + error.hint


def test_an_empty_log_is_refused(tmp_path):
    assert "says nothing of a connection pool" in refusal(written(tmp_path, ""), tmp_path).message


def test_a_log_at_info_is_refused_as_such(tmp_path):
    log = Told()
    log.invalidate(1, A)
    log.say(2, "Pool recreating", level="INFO")
    info = Told([line for line in log.lines if line.level == "INFO"])
    assert "its logger is not at DEBUG" in refusal(written(tmp_path, info.text()), tmp_path).message


def test_a_log_without_times_says_what_its_lines_make_and_is_refused(tmp_path):
    log = Told()
    log.created(0, A)
    for n in range(3):
        log.used(n, 1, A)
    log.checked_out(9, A)
    error = refusal(written(tmp_path, log.text(untimed)), tmp_path)
    assert error.message == (
        "app.log (11 lines) has no times, so nothing can be measured; its lines make 1 open, 3 returned"
    )
    assert "%(asctime)s" in error.hint


def test_a_driver_whose_connections_have_no_address_is_refused_as_such(tmp_path):
    log = Told(show=lambda _: "<oracledb.Connection to scott@10.0.0.7/orcl>")
    log.used(0, 1, A)
    error = refusal(written(tmp_path, log.text()), tmp_path)
    assert "do not name their connection" in error.message
    assert "scott" not in error.message


def test_a_file_that_is_not_there_or_is_a_directory_is_one_line(tmp_path):
    assert "No such file" in refusal(tmp_path / "nothing.log", tmp_path).message
    assert "directory" in refusal(tmp_path, tmp_path).message


def test_a_run_that_cannot_be_written_is_one_line(tmp_path):
    log = Told()
    log.used(0, 1, A)
    path = written(tmp_path, log.text())
    with pytest.raises(OutputError, match="cannot write"):
        read_log(path, Run(tmp_path / "gone"))


def test_lines_without_a_time_count_with_the_line_before_them(tmp_path):
    log = Told()
    for n in range(10):
        log.used(n * 10, 5, A)
    text = log.text().splitlines()
    text[4] = text[4][40:]
    found = read(written(tmp_path, "\n".join(text)), tmp_path)
    assert found.summary.malformed == 1
    assert found.summary.ends == {"returned": 10}
    assert any("have no time" in line for line in found.summary.blind)


def test_a_log_that_goes_on_in_another_format_is_learned_anew(tmp_path):
    first, second = Told(), Told()
    for n in range(300):
        first.used(n, 0.5, A)
        second.used(300 + n, 0.25, A)
    for name, later in (("epoch", lambda line: f"{line.date.timestamp():.3f} {line.text}"), ("json", json_lines)):
        found = read(written(tmp_path, first.text() + second.text(later)), tmp_path / name)
        assert found.summary.ends == {"returned": 600}
        assert sorted(found.holds_ms)[20:-20] == [250] * 280 + [500] * 280
        assert found.summary.malformed <= 64


def test_garbage_between_the_lines_is_passed_over(tmp_path):
    log = Told()
    for n in range(10):
        log.used(n * 10, 5, A)
    lines = log.text().encode().splitlines(keepends=True)
    noise = (
        b'\xff\xfe\x00 onnect \xc3\x28 Connection checked out\n{"event": Connection <x at 0x\n' + b"x" * 70_000 + b"\n"
    )
    path = tmp_path / "noisy.log"
    path.write_bytes(noise.join(lines))
    assert read(path, tmp_path).summary.ends == {"returned": 10}


def test_several_logs_joined_in_the_wrong_order_are_noticed(tmp_path):
    log = Told()
    log.used(7200, 5, A)
    log.used(0, 5, A)
    found = log.read(tmp_path)
    assert any("time goes back by more than a second 1 times" in line for line in found.summary.blind)


def test_whole_seconds_say_that_shorter_holds_count_as_none(tmp_path):
    log = Told()
    log.used(0, 0.4, A)
    found = log.read(tmp_path, gunicorn_seconds)
    assert found.holds_ms == [0]
    assert found.summary.blind[0] == "times are exact to 1.00 s, as the log has them; a shorter hold counts as none"


def test_reading_that_is_interrupted_keeps_what_was_read(tmp_path):
    class Interrupted:
        def __init__(self):
            log = Told()
            log.used(0, 1, A)
            log.checked_out(5, A)
            self.parts = [log.text().encode()]

        def peek(self, _count):
            return b"20"

        def read1(self, _count):
            if not self.parts:
                raise KeyboardInterrupt
            return self.parts.pop()

    run = Run.create(tmp_path)
    summary = read_log(Interrupted(), run)
    assert summary.interrupted
    assert summary.ends == {"returned": 1, "open": 1}
    assert run.read_meta()["end"] == "interrupted"


def test_the_window_reaches_from_the_logs_first_line_to_its_last(tmp_path):
    log = Told()
    log.say(0, "starting up", logger="app")
    log.checked_out(10, A)
    log.say(70, "still here", logger="app")
    found = log.read(tmp_path)
    assert found.leases["acquired_at_s"].tolist() == [10.0]
    assert found.tables.length_s == 70.0
    assert found.ends == ["open"]


def test_the_snippet_of_the_hint_makes_a_log_that_can_be_read(tmp_path):
    program = f"""
import logging
{SNIPPET}
from sqlalchemy import create_engine
engine = create_engine("sqlite:///{tmp_path}/a.db")
for _ in range(3):
    with engine.connect():
        pass
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
    found = read(tmp_path / "pool.log", tmp_path)
    assert found.summary.ends == {"returned": 3}
    assert found.summary.resolution_s == 1e-3
    assert found.summary.malformed == 0
    assert set(found.leases["process"]) != {0}
    assert set(found.leases["task"]) != {0}


def test_reading_never_leaves_the_loggers_of_this_process_changed(tmp_path):
    before = dict(logging.root.manager.loggerDict)
    log = Told()
    log.used(0, 1, A)
    log.read(tmp_path)
    assert {name for name in logging.root.manager.loggerDict if name.startswith("sqlalchemy")} == {
        name for name in before if name.startswith("sqlalchemy")
    }


def test_thousands_of_processes_do_not_hold_thousands_of_files_open(tmp_path):
    lines = []
    for n in range(1500):
        told = Told(common={"pid": 5000 + n})
        told.used(n * 0.01, 0.005, A)
        lines += told.lines
    found = Told(lines).read(tmp_path, full)
    assert found.summary.processes == 1500
    assert found.summary.ends == {"returned": 1500}
    assert isinstance(lines[0], Line)
