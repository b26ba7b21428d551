import errno
import os
import time

import pytest

from poolctl.cli.sides import runs
from poolctl.config import Settings
from poolctl.errors import InputError, OutputError
from poolctl.trace.run import Run, output_error, write_text


def test_a_run_is_found_by_last_by_the_beginning_of_its_name_and_by_its_path(tmp_path):
    first, second = Run.create(tmp_path), Run.create(tmp_path)
    first.write_meta({"command": "loadtest"})
    time.sleep(0.01)  # the newest is told by the file's time, which ticks every few milliseconds
    second.write_meta({"command": "loadtest"})
    assert Run.open("last", tmp_path) == second
    assert Run.open(first.id, tmp_path) == first
    assert Run.open(str(first.path), tmp_path / "elsewhere") == first
    assert first.read_meta()["command"] == "loadtest"


def test_an_unknown_and_an_ambiguous_name_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="no run under"):
        Run.open("last", tmp_path)
    for _ in range(2):
        Run.create(tmp_path).write_meta({})
    with pytest.raises(InputError, match="'nope' is not a run"):
        Run.open("nope", tmp_path)
    with pytest.raises(InputError, match="'20' is not unique"):
        Run.open("20", tmp_path)


def test_a_torn_or_foreign_run_json_is_one_clear_error(tmp_path):
    run = Run.create(tmp_path)
    (run.path / "run.json").write_text('{"schema": 1, "comm')
    with pytest.raises(InputError, match="cannot be read"):
        run.read_meta()
    (run.path / "run.json").write_text('{"schema": 99}')
    with pytest.raises(InputError, match="another schema"):
        run.read_meta()


def test_a_path_that_is_a_file_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        Run.create(tmp_path / "file" / "runs")
    assert "--runs-dir" in caught.value.hint


def test_a_full_disk_says_so():
    error = output_error("run.json", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert "No space left" in error.message
    assert "free some space" in error.hint


def test_writing_replaces_the_file_in_one_step_and_leaves_nothing_else(tmp_path):
    write_text(tmp_path / "report.json", "one")
    write_text(tmp_path / "report.json", "two")
    assert (tmp_path / "report.json").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(pipe, "report")
        assert os.read(reader, 100) == b"report"
        assert pipe.is_fifo()
    finally:
        os.close(reader)


def test_last_and_a_directory_of_runs_do_not_mean_runs_that_prove_another_ones_prediction(tmp_path):
    asked, proof = Run.create(tmp_path), Run.create(tmp_path)
    asked.write_meta({"command": "loadtest"})
    proof.write_meta({"command": "loadtest", "part_of": asked.id})
    os.utime(asked.path / "run.json", (1, 1))
    assert Run.open("last", tmp_path) == asked
    assert Run.open(proof.id, tmp_path) == proof
    assert runs(str(tmp_path), Settings(runs_dir=str(tmp_path))) == [asked]
    (asked.path / "run.json").unlink()
    assert Run.open("last", tmp_path) == proof
