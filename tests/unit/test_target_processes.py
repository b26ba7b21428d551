"""How busy an interpreter is, told from outside: by a /proc of our own making, and by the real one."""

import os
import sys

import pytest

from poolctl.target import processes
from poolctl.target.processes import LOOKS, Looks, Stillness, any_thread_runs


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


@pytest.fixture
def machine(monkeypatch):
    """What the machine's clocks say: [time, own CPU time, stolen], in seconds."""
    said = [100.0, 5.0, 3.0]
    monkeypatch.setattr(processes, "monotonic_ns", lambda: int(said[0] * 1e9))
    monkeypatch.setattr(processes.time, "process_time_ns", lambda: int(said[1] * 1e9))
    monkeypatch.setattr(processes, "stolen_s", lambda: said[2])
    return said


@pytest.mark.parametrize(
    ("took", "worked", "stolen", "lost"),
    [(0.11, 0.0, 0.0, None), (0.6, 0.0, 0.0, 0.5), (0.6, 0.48, 0.0, None), (0.12, 0.0, 0.3, 0.3)],
    ids=["in time", "late for no reason", "late by its own work", "the hypervisor took"],
)
def test_the_machine_stood_still_where_no_work_of_our_own_made_us_late(machine, took, worked, stolen, lost):
    stillness = Stillness()
    assert stillness.look(0.1) is None, "there was no look before"
    for number, spent in enumerate((took, worked, stolen)):
        machine[number] += spent
    line = stillness.look(0.1)
    assert (line and round(line["lost_s"], 6)) == lost
    if line:
        assert (line["from_ns"], line["to_ns"]) == (100 * 10**9, int((100 + took) * 1e9))
