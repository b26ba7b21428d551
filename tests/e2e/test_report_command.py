"""`poolctl report`: a recorded run, shown again."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sample_reports
from command import clean_environment, poolctl

from poolctl.report import render
from poolctl.trace.report import Report
from poolctl.trace.run import DEFAULT_ROOT, Run


def record(cwd: Path, report: Report, root: Path = DEFAULT_ROOT) -> Report:
    """Put a run with this report under `cwd`."""
    run = Run.create(cwd / root)
    run.write_meta({"command": "loadtest"})
    report = dataclasses.replace(report, run=dataclasses.replace(report.run, id=run.id, path=str(run.path)))
    run.write_text("report.json", json.dumps(report.to_json()))
    return report


@pytest.fixture
def shown(tmp_path: Path) -> Report:
    return record(tmp_path, sample_reports.too_small())


def test_last_shows_the_newest_run_with_its_own_exit_code(tmp_path: Path, shown: Report) -> None:
    result = poolctl("report", "last", cwd=tmp_path)
    assert (result.code, result.err) == (1, "")
    assert result.out.splitlines()[0].startswith("The pool is too small: 23.1 % of 1,812 requests")
    assert result.out.splitlines()[-1] == f"Show this run again: poolctl report {shown.run.id}"
    assert poolctl("report", cwd=tmp_path).out == result.out


def test_a_run_is_found_by_the_beginning_of_its_id_and_by_its_directory(tmp_path: Path, shown: Report) -> None:
    by_id = poolctl("report", shown.run.id[:-2], cwd=tmp_path)
    assert by_id.code == 1
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    by_path = poolctl("report", shown.run.path, cwd=elsewhere)
    assert by_path.out.splitlines()[:-1] == by_id.out.splitlines()[:-1]
    assert by_path.out.splitlines()[-1] == f"Show this run again: poolctl report {shown.run.path}"


def test_json_on_stdout_is_the_document_and_nothing_else(tmp_path: Path, shown: Report) -> None:
    result = poolctl("report", "--format", "json", cwd=tmp_path)
    assert Report.from_json(json.loads(result.out)) == shown
    assert json.loads(result.out)["schema"] == "poolctl.report/1"


def test_files_are_written_beside_stdout_and_their_ending_names_the_format(tmp_path: Path, shown: Report) -> None:
    result = poolctl("report", "--report", "a.json", "--report", "b.md", "--report", "c.txt", cwd=tmp_path)
    assert result.out.startswith("The pool is too small")
    assert Report.from_json(json.loads((tmp_path / "a.json").read_text())) == shown
    assert (tmp_path / "b.md").read_text() == render(shown, "markdown").replace(shown.run.path, shown.run.id)
    assert (tmp_path / "c.txt").read_text().startswith("The pool is too small")


def test_a_file_that_is_there_stays_without_force(tmp_path: Path, shown: Report) -> None:
    (tmp_path / "a.json").write_text("mine")
    result = poolctl("report", "--report", "a.json", cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert result.errors == ["error: a.json is already there", "hint: --force overwrites it"]
    assert (tmp_path / "a.json").read_text() == "mine"
    assert poolctl("report", "--report", "a.json", "--force", cwd=tmp_path).code == 1
    assert json.loads((tmp_path / "a.json").read_text())["run"]["id"] == shown.run.id


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        (["nope"], "'nope' is not a run (looked for a directory with run.json, here and under .poolctl/runs)", None),
        (
            ["--format", "pdf"],
            "--format: 'pdf' is not one of console, json, markdown, html, junit, github, openmetrics",
            None,
        ),
        (["--report", "a.docx"], "cannot write a report to a.docx: the ending '.docx' names no format", "end it in"),
        (["--report", "nowhere/a.md"], "cannot write nowhere/a.md: there is no directory nowhere", None),
        (["--runs-dir", "nowhere"], "no run under nowhere yet", "record one with `poolctl loadtest`"),
        (["--fail-on", "bad"], "--fail-on: 'bad' is not one of info, warning, error, critical", None),
    ],
)
def test_what_cannot_be_is_one_clear_line_and_code_2(
    tmp_path: Path, shown: Report, options: list[str], error: str, hint: str | None
) -> None:
    result = poolctl("report", *options, cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert result.errors[0] == f"error: {error}"
    assert result.errors[1].startswith(f"hint: {hint or ''}")
    assert len(result.errors) == 2


def test_a_report_that_cannot_be_read_says_how_to_make_it_anew(tmp_path: Path, shown: Report) -> None:
    (Path(shown.run.path) / "report.json").write_text('{"schema": "poolctl.report/1", "run"')
    result = poolctl("report", cwd=tmp_path)
    assert result.code == 2
    assert "report.json cannot be read" in result.errors[0]
    assert result.errors[1] == "hint: make it anew with --analyse"


def test_the_terminal_s_width_is_used_and_a_pipe_has_a_width_of_its_own(tmp_path: Path, shown: Report) -> None:
    narrow = poolctl("report", cwd=tmp_path, environment={"COLUMNS": "80"}).out
    assert narrow == render(shown, "console", width=80).replace(shown.run.path, shown.run.id)
    assert max(map(len, poolctl("report", cwd=tmp_path).out.splitlines()[:-1])) <= 100


def on_a_terminal(*arguments: str, cwd: Path, **environment: str) -> str:
    """Run poolctl with stdout on a pseudo-terminal of 80 columns and return what arrived there."""
    import pty
    import termios

    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", "poolctl", *arguments],
        cwd=cwd,
        env=clean_environment(TERM="xterm-256color", **environment),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.DEVNULL,
    )
    os.close(slave)
    chunks = []
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(master)
    process.wait(60)
    return b"".join(chunks).decode().replace("\r\n", "\n")


def test_a_terminal_gets_colour_unless_no_color_is_set(tmp_path: Path, shown: Report) -> None:
    coloured = on_a_terminal("report", cwd=tmp_path)
    plain = on_a_terminal("report", cwd=tmp_path, NO_COLOR="1")
    assert "\x1b[1;31mThe pool is too small" in coloured
    assert "\x1b" not in plain
    assert plain == render(shown, "console", width=80).replace(shown.run.path, shown.run.id)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split("\n")[0].strip() == plain.split("\n")[0]


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, shown: Report) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "poolctl", "report"]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(), stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_one_clear_line(tmp_path: Path, shown: Report) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "poolctl", "report"],
            cwd=tmp_path, env=clean_environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: cannot write to stdout: No space left on device",
        "hint: free some space there",
    ]


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_reason_to_fail(tmp_path: Path, shown: Report, redirect: str) -> None:
    command = f"{sys.executable} -m poolctl report {redirect}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=clean_environment(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, b"")


def test_an_ascii_locale_still_gets_the_report(tmp_path: Path, shown: Report) -> None:
    result = poolctl(
        "report", cwd=tmp_path, environment={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    )
    assert result.code == 1
    assert "│" in result.out
