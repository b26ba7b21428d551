"""`poolctl loadtest` as a user runs it, on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
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
from command import clean_environment, poolctl

from poolctl.cli.replay import plan_of
from poolctl.config import Settings
from poolctl.errors import UsageError
from poolctl.trace.report import Report
from poolctl.trace.run import Run

pytestmark = pytest.mark.server

STEADY = '''"""Steady work, all of it thinking."""
from poolctl.load import Scenario, poisson, think, transaction
from sqlalchemy import text

@transaction
def work(connection):
    connection.execute(text("select 1"))
    think({hold})

class Steady(Scenario):
    arrivals = poisson("{rate}/s")
    transactions = (work,)
    objectives = ("p95 wait < 50ms",)
'''


@pytest.fixture
def steady(tmp_path: Path) -> Callable[..., Path]:
    def write(rate: float = 100, hold: float = 0.01) -> Path:
        path = tmp_path / "steady.py"
        path.write_text(STEADY.format(rate=rate, hold=hold))
        return path

    return write


def test_one_json_document_on_stdout_and_nothing_else(tmp_path: Path, postgres_url: str, steady: Any) -> None:
    common = ["loadtest", steady(), "--url", postgres_url, "--seed", "7", "--duration", "3s", "--format", "json"]
    first = poolctl(*common, cwd=tmp_path)
    report = Report.from_json(json.loads(first.out))
    assert report.exit_code == first.code in (0, 4)
    assert report.load is not None
    assert report.run.seed == 7
    assert report.leases.total == report.load.arrivals > 200
    assert "\x1b" not in first.err
    assert first.errors[0].startswith("steady: ")
    assert json.loads((Path(report.run.path) / "report.json").read_text()) == json.loads(first.out)

    second = json.loads(poolctl(*common, "--quiet", cwd=tmp_path).out)
    tapes = [Run(Path(data["run"]["path"])).read_meta()["tape"] for data in (json.loads(first.out), second)]
    assert tapes[0] == tapes[1]
    assert second["load"]["arrivals"] == report.load.arrivals


def test_quiet_says_nothing_on_stderr(tmp_path: Path, postgres_url: str, steady: Any) -> None:
    result = poolctl("loadtest", steady(), "--url", postgres_url, "--duration", "1s", "--quiet", cwd=tmp_path)
    assert result.err == ""
    assert "Where the time went" in result.out


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A directory for temporary files whose path is short enough for a unix socket in it."""
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as name:
        Path(name).chmod(0o755)  # PostgreSQL does not run as root
        yield Path(name)


def test_without_a_target_an_embedded_server_is_used_and_gone_afterwards(tmp_path: Path, short_tmp: Path) -> None:
    result = poolctl(
        "loadtest", "low_concurrency", "--duration", "2s", "--format", "json",
        cwd=tmp_path, environment={"TMPDIR": str(short_tmp)},
    )  # fmt: skip
    assert result.code in (0, 4), result.err
    data = json.loads(result.out)
    assert data["target"]["dialect"] == "postgresql"
    assert data["leases"]["returned"] == data["leases"]["total"]
    assert data["target"]["server"]["in_use"] == 0
    assert list(short_tmp.iterdir()) == []
    assert working_in(short_tmp) == []


def working_in(directory: Path) -> list[str]:
    """The processes whose current directory (PostgreSQL: its data) is below a directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(directory):
                found.append(process.name())
    return found


def test_a_pool_too_small_fails_the_gate_and_is_shown_the_size_that_works(
    tmp_path: Path, postgres_url: str, steady: Any
) -> None:
    result = poolctl(
        "loadtest", steady(rate=100, hold=0.1), "--url", postgres_url, "--seed", "3", "--duration", "4s",
        "--pool-size", "5", "--max-overflow", "0", "--pool-timeout", "500ms", "--verify", "--format", "json",
        cwd=tmp_path,
    )  # fmt: skip
    report = Report.from_json(json.loads(result.out))
    assert (result.code, report.verdict) == (1, "too small"), report.summary
    assert report.leases.timed_out > 50
    assert report.sizing is not None
    tried = report.sizing.measured
    sizes = [run.settings.pool_size or 0 for run in tried]
    assert sizes[0] > 9
    assert {sizes[0] - 1, sizes[0] + 1} <= set(sizes)
    predicted = [run.predicted.meets for run in tried if run.predicted is not None]
    assert predicted[0]
    assert False in predicted, "one that is predicted to miss the objective is tried, too"
    held = tried[0].met is not False or any(run.met for run in tried if (run.settings.pool_size or 0) > sizes[0])
    assert (report.sizing.recommended is not None) == held, report.sizing.reason
    verified = report.sizing.verified
    assert verified is not None
    if report.sizing.recommended is not None:  # on a machine that is busy otherwise none may hold, and that is said
        assert verified.settings.pool_size == report.sizing.recommended.pool_size
        assert verified.measured_timeout_rate < 0.01
    shown = poolctl("report", "last", cwd=tmp_path, environment={"COLUMNS": "100"})
    assert (shown.code, shown.out.splitlines()[-1]) == (1, f"Show this run again: poolctl report {report.run.id}")
    assert "tried at" in shown.out
    assert poolctl("report", verified.run_id, cwd=tmp_path).out


def test_a_sweep_runs_the_ladder_in_turns_and_holds_it_against_the_roomiest_run(
    tmp_path: Path, postgres_url: str, steady: Any
) -> None:
    result = poolctl(
        "loadtest", steady(rate=60, hold=0.1), "--url", postgres_url, "--seed", "3", "--duration", "2s",
        "--sweep", "2,20", "--rounds", "1", "--pool-timeout", "500ms", "--slo", "p95 wait < 100ms",
        "--format", "json", cwd=tmp_path,
    )  # fmt: skip
    report = Report.from_json(json.loads(result.out))
    assert report.sizing is not None, result.err
    assert report.target.settings.pool_size == 20
    assert [run.settings.pool_size for run in report.sizing.measured] == [20, 2]
    small = report.sizing.measured[1]
    assert small.met is not True
    if report.sizing.predictions:
        assert small.predicted is not None
        assert small.predicted.meets is False
    assert any("measured at pool_size 2, 20" in note for note in report.sizing.notes)
    assert poolctl("report", "last", "--format", "json", cwd=tmp_path).out == result.out
    again = plan_of(Run(Path(report.run.path)), Settings(url=postgres_url))
    assert (again.target.pool_size, again.seed, again.seconds) == (20, 3, 2.0)
    with pytest.raises(UsageError, match="was made on postgresql"):
        plan_of(Run(Path(report.run.path)), Settings())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sweep", "4"], "one size is no ladder"),
        (["--sweep", "4,x"], "cannot read '4,x'"),
        (["--sweep", "4,6", "--verify"], "both choose the sizes"),
        (["--rounds", "3"], "how often each size of a sweep is run"),
        (["--sweep", "4,6", "--rounds", "0"], "must be 1 or more"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(tmp_path: Path, options: list[str], said: str) -> None:
    result = poolctl("loadtest", *options, cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert said in result.errors[0]


def test_several_scenarios_run_one_after_another_and_make_one_document(
    tmp_path: Path, postgres_url: str, steady: Any
) -> None:
    path = steady()
    result = poolctl(
        "loadtest", path, path, "--url", postgres_url, "--duration", "1s", "--seed", "1", "--format", "json",
        "--report", "both.md", cwd=tmp_path,
    )  # fmt: skip
    first, second = json.loads(result.out)
    assert first["run"]["id"] != second["run"]["id"]
    assert result.code == max(first["exit_code"], second["exit_code"])
    assert (tmp_path / "both.md").read_text().count("## Where the time went") == 2


def test_an_objective_on_the_command_line_replaces_the_scenario_s(
    tmp_path: Path, postgres_url: str, steady: Any
) -> None:
    path = steady(rate=50, hold=0.1)
    common = ["loadtest", path, "--url", postgres_url, "--duration", "2s", "--format", "json", "--quiet"]
    failed = poolctl(*common, "--slo", "max hold < 1us", "--slo", "count leaks == 0", cwd=tmp_path)
    data = json.loads(failed.out)
    assert failed.code == 1, data["summary"]
    assert [(o["objective"], o["verdict"]) for o in data["objectives"]] == [
        ("max hold < 1us", "fail"),
        ("count leaks == 0", "pass"),
    ]
    assert Run(Path(data["run"]["path"])).read_meta()["objectives"] == ["max hold < 1us", "count leaks == 0"]
    again = poolctl("report", "--slo", "max hold < 1h", "--format", "json", cwd=tmp_path)
    assert [o["verdict"] for o in json.loads(again.out)["objectives"]] == ["pass"]


def test_too_few_data_is_inconclusive_unless_told_otherwise(tmp_path: Path, postgres_url: str, steady: Any) -> None:
    common = ["loadtest", steady(rate=10), "--url", postgres_url, "--duration", "1s", "--format", "json", "--quiet"]
    codes = [
        poolctl(*common, *more, cwd=tmp_path).code
        for more in ([], ["--inconclusive", "fail"], ["--inconclusive", "pass"])
    ]
    assert codes == [4, 1, 0]


ERRORS = [
    (["brusty"], 2, "there is no scenario 'brusty'", "did you mean bursty?"),
    (["no/such.py"], 2, "there is no scenario file no/such.py", ""),
    (["bursty", "--slo", "p95 wiat < 5ms"], 2, "there is no measure 'wiat'", "did you mean 'wait'?"),
    (["bursty", "--slo", "nonsense"], 2, "objective 'nonsense'", "p95 wait < 50ms"),
    (["bursty", "--duration", "soon"], 2, "--duration: cannot read 'soon' as a duration", "30s"),
    (["bursty", "--rate", "fast"], 2, "--rate: cannot read 'fast' as a rate", "50/s"),
    (["bursty", "--pool-size", "0", "--max-overflow", "5"], 2, "max_overflow 5 would be ignored", "pool_size 1"),
    (["bursty", "--pool-size", "-3"], 2, "--pool-size: -3 is not a whole number of 0 or more", ""),
    (["bursty", "--pool-timeout", "0"], 2, "--pool-timeout", "more than 0"),
    (["bursty", "--processes", "0"], 2, "--processes: 0", ""),
    (["bursty", "--url", "nonsense"], 2, "nonsense", ""),
    (["bursty", "--url", "postgresql+asyncpg://u:hunter22@127.0.0.1:1/x", "--allow-writes"], 3, "127.0.0.1:1", ""),
    (["bursty", "--url", "nosuch+driver://u:hunter22@127.0.0.1:1/x", "--allow-writes"], 2, "nosuch", ""),
    (["bursty", "--url", "sqlite+aiosqlite:///x.db"], 2, "would write to", "--allow-writes"),
    (["bursty", "--url", "postgresql+asyncpg://u:hunter22@db.example/x", "--allow-writes"], 2, "db.example", "--yes"),
    (["bursty", "--engine", "nowhere:engine"], 2, "nowhere", ""),
    (["bursty", "--url", "sqlite+aiosqlite://", "--engine", "a:b"], 2, "url and engine name two targets", "keep one"),
    (["bursty", "--runs-dir", "file/runs"], 2, "cannot write file/runs", "--runs-dir"),
    (["bursty", "--report", "x.docx"], 2, "the ending '.docx' names no format", ".json"),
    (
        ["bursty", "--format", "pdf"],
        2,
        "'pdf' is not one of console, json, markdown, html, junit, github, openmetrics",
        "",
    ),
]


@pytest.mark.parametrize(("arguments", "code", "error", "hint"), ERRORS, ids=lambda value: str(value)[:60])
def test_what_cannot_work_is_one_clear_line_before_anything_runs(
    tmp_path: Path, arguments: list[str], code: int, error: str, hint: str
) -> None:
    (tmp_path / "file").write_text("")
    length = [] if "--duration" in arguments else ["--duration", "1s"]
    result = poolctl("loadtest", *arguments, *length, cwd=tmp_path)
    complaint = [line for line in result.errors if line.startswith(("error: ", "hint: "))]
    assert (result.code, result.out) == (code, ""), result.err
    assert error in complaint[0]
    assert len(complaint) == 2
    assert hint in complaint[1]
    assert "Traceback" not in result.err
    assert "hunter22" not in result.err
    assert not list(tmp_path.glob(".poolctl/runs/*"))


def test_a_scenario_with_a_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import os\n\ndef x(:\n    pass\n")
    (tmp_path / "raises.py").write_text("import os\nos.nope()\n")
    for name, error in (("broken.py", "broken.py:3: invalid syntax"), ("raises.py", "raises.py:2: AttributeError")):
        result = poolctl("loadtest", name, cwd=tmp_path)
        assert (result.code, result.out, len(result.errors)) == (2, "", 2)
        assert error in result.errors[0]


def started(arguments: list[str], cwd: Path) -> subprocess.Popen[str]:
    """Start poolctl and wait until the load runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "poolctl", *arguments],
        cwd=cwd,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if ": running" in line:
            return process
    raise AssertionError(f"it ended with {process.wait()}")


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_ctrl_c_keeps_and_reports_what_was_recorded_and_leaves_nothing_behind(tmp_path: Path, steady: Any) -> None:
    process = started(["loadtest", str(steady()), "--duration", "60s", "--format", "json"], tmp_path)
    children = family(process)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    report = Report.from_json(json.loads(out))
    assert report.exit_code == 130
    assert "interrupted" in err
    assert f"poolctl report {report.run.id}" in err
    assert report.leases.total > 20
    assert 1 < report.run.duration_s < 30
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    again = poolctl("report", "last", cwd=tmp_path)
    assert again.code == 130
    assert again.out.splitlines()[0].startswith(report.summary[:60])


def test_a_database_that_dies_ends_the_run_with_code_3_and_the_run_is_kept(tmp_path: Path, steady: Any) -> None:
    process = started(["loadtest", str(steady()), "--duration", "60s", "--format", "json"], tmp_path)
    children = family(process)
    time.sleep(1.5)
    (postmaster,) = [p for p in children if p.name() == "postgres" and p.parent().name() != "postgres"]  # type: ignore[union-attr]
    for server in [postmaster, *postmaster.children(recursive=True)]:
        os.kill(server.pid, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    report = Report.from_json(json.loads(out))
    assert report.leases.total > 20
    assert "error: the run ended early, target lost: " in err
    assert f"poolctl report {report.run.id}" in err
    _, alive = psutil.wait_procs(children, timeout=15)
    assert alive == []
