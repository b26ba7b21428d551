"""How busy an interpreter is, told from outside: by a /proc of our own making, and by the real one."""

import os
import sys

import pytest

from poolctl.target.processes import LOOKS, Looks, any_thread_runs


def process(root, pid, *states):
    for number, state in enumerate(states):
        task = root / str(pid) / "task" / str(pid + number)
        task.mkdir(parents=True, exist_ok=True)
        (task / "stat").write_text(f"{pid + number} (a ) R name) {state} 1 2 3\n")


def test_a_process_runs_when_any_of_its_threads_does(tmp_path):
    process(tmp_path, 10, "S", "S", "R")
    process(tmp_path, 20, "S", "D")
    assert any_thread_runs(10, tmp_path) is True
    assert any_thread_runs(20, tmp_path) is False
    assert any_thread_runs(30, tmp_path) is None


def test_so_many_looks_make_a_line_and_a_process_that_is_gone_makes_none(tmp_path):
    looks = Looks(tmp_path)
    process(tmp_path, 10, "R")
    first = [looks.look([10, 30, 10]) for _ in range(LOOKS - 2)]
    process(tmp_path, 10, "S")
    assert [*first, looks.look([10, 30])] == [[]] * (LOOKS - 1)
    [line] = looks.look([10, 30])
    assert (line["pid"], line["wanted"]) == (10, (LOOKS - 2) / LOOKS)
    assert line["from_ns"] < line["to_ns"]
    again = [line for _ in range(LOOKS) for line in looks.look([10])]
    assert (again[0]["from_ns"], again[0]["wanted"]) == (line["to_ns"], 0.0), "no gap between the lines"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
def test_the_one_who_looks_is_running():
    assert any_thread_runs(os.getpid()) is True
