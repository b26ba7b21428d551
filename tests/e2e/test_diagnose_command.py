"""`poolctl diagnose` as a user runs it: each way in, its streams, its report, its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from command import Result, clean_environment, poolctl
from sick_apps import Patient, patient, site_of

THRESHOLDS = '[thresholds]\nhold_time_warning = "2s"\n'
"""A test does not wait thirty seconds for a leak to be one."""


def diagnose_while(sick: Patient, cwd: Path, *arguments: str, command: bool = False, seconds: float = 5.0) -> Result:
    """Run `poolctl diagnose`, make the application suffer once the window has begun, and end the window."""
    (cwd / "poolctl.toml").write_text(THRESHOLDS)
    words = [sys.executable, "-m", "poolctl", "diagnose", "--format", "json", *arguments]
    process = subprocess.Popen(
        [*words, "--", *sick.command] if command else words,
        cwd=cwd,
        env=sick.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def suffer() -> None:
        while not list(cwd.glob(".poolctl/runs/*/run.json")) and process.poll() is None:
            time.sleep(0.05)
        sick.wait_until_up()
        sick.suffer(seconds)
        process.send_signal(signal.SIGINT)

    sufferer = threading.Thread(target=suffer)
    sufferer.start()
    out, err = process.communicate(timeout=120)
    sufferer.join()
    return Result(process.returncode, out.decode(), err.decode())


def findings(report: dict[str, Any]) -> dict[str, set[str]]:
    """Return the sites named by each kind of finding."""
    found: dict[str, set[str]] = {}
    for finding in report["findings"]:
        found.setdefault(finding["code"], set()).update(finding["sites"])
    return found


WAYS = ["launch", "pid", "attach", "plugin"]


@pytest.mark.server
@pytest.mark.parametrize("app", ["sick_async", "sick_sync"])
@pytest.mark.parametrize("way", WAYS)
def test_every_planted_defect_is_found_with_its_line(tmp_path: Path, postgres_url: str, app: str, way: str) -> None:
    url = postgres_url if app == "sick_async" else postgres_url.replace("asyncpg", "psycopg")
    if way == "plugin":
        url += ("&" if "?" in url else "?") + "plugin=poolctl"
    with patient(app, url) as sick:
        if way == "launch":
            result = diagnose_while(sick, tmp_path, command=True)
        else:
            if way != "pid":
                sick.environment["POOLCTL_RUN_DIR"] = str(tmp_path / "announced")
            with sick.running(ATTACH="1" if way == "attach" else "") as process:
                more = ["--pid", str(process.pid)] if way == "pid" else []
                result = diagnose_while(sick, tmp_path, *more)
                assert process.poll() is None
    assert sick.errors == []
    assert result.code == 130, result.err
    report = json.loads(result.out)
    assert (report["command"], report["schema"]) == ("diagnose", "poolctl.report/1")
    found = findings(report)
    assert site_of(app, "leak") in found["PC101"]
    assert site_of(app, "idle") in found["PC302"]
    assert site_of(app, "nested") in found["PC601"]
    assert site_of(app, "blocked") in found["PC602"]
    if app == "sick_sync":  # a sync engine in an `async def`
        assert site_of(app, "blocked") in found["PC606"]
    named = {(row["site"], row["context"]) for row in report["sites"]}
    assert {(site_of(app, name), f"GET /{name}") for name in ("healthy", "leak", "idle", "nested", "blocked")} <= named
    assert report["capture"]["errors"] == report["capture"]["dropped"] == 0


def test_the_command_s_output_stays_its_own_and_the_report_comes_after(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sqlalchemy as sa, sys\nengine = sa.create_engine('sqlite:///data.sqlite')\nprint('hello')\n"
        "print('world', file=sys.stderr)\nengine.connect().close()\n"
    )
    result = poolctl("diagnose", "--quiet", "--", sys.executable, script, cwd=tmp_path)
    assert (result.code, result.err) == (0, "world\n")
    assert result.out.startswith("hello\nNothing can be told: 1 request")
    again = poolctl("diagnose", "--trace", "last", cwd=tmp_path)
    assert again.out.splitlines()[0] in result.out.splitlines()


def test_options_after_the_command_are_the_command_s(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys, sqlalchemy as sa\nsa.create_engine('sqlite://').connect()\nprint(sys.argv[1:])\n")
    result = poolctl("diagnose", "--quiet", sys.executable, script, "--quiet", "--pid", "1", cwd=tmp_path)
    assert result.out.startswith("['--quiet', '--pid', '1']\n")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--pid", "999999999"], 3, "error: there is no process 999999999"),
        (["--pid", "1", "--log", "x"], 2, "error: --pid and --log are different things to look at"),
        (["--pid", "1", "--", "true"], 2, "error: a command and --pid are different things to look at"),
        (["--", "no-such-command"], 2, "error: cannot run no-such-command: no such command"),
        (["--", "true"], 3, "error: no process of true, which ended with code 0, announced itself"),
        (["--log", "missing.log"], 2, "error: "),
        (["--trace", "missing"], 2, "error: 'missing' is not a run"),
        (["--engine", "app:engine"], 2, "error: an engine alone cannot be watched"),
        (["--window", "0"], 2, "error: --window 0 judges settings, and there are none"),
        (["--proxy", "mysql://h/x", "--", "true"], 2, "error: 'mysql://h/x' is not a PgBouncer"),
        (
            ["--proxy", "postgresql://u:pw@127.0.0.1:1/", "--", "true"],
            3,
            "error: PgBouncer at postgresql://u:***@127.0",
        ),
        (["--proxy-log", "missing.log", "--", "true"], 2, "error: the proxy's log missing.log cannot be read"),
        (["--window", "soon"], 2, "error: --window"),
        (["--slo", "p95 nonsense", "--", "true"], 2, "error: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_diagnosed_is_two_lines_and_a_code(
    tmp_path: Path, arguments: list[str], code: int, error: str
) -> None:
    result = poolctl("diagnose", "--quiet", *arguments, cwd=tmp_path)
    assert (result.code, result.out) == (code, "")
    assert len(result.errors) == 2, result.err
    assert result.errors[0].startswith(error)
    assert result.errors[1].startswith("hint: ")
    assert not list(tmp_path.glob(".poolctl/runs/*"))


def test_nobody_who_announced_himself_is_said(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "poolctl", "diagnose", "--quiet", "--window", "1s"],
        cwd=tmp_path,
        env=clean_environment(),
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".poolctl/runs/*/guests.txt")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"interrupted before anything was recorded\n")
    assert not list(tmp_path.glob(".poolctl/runs/*"))


def test_a_log_is_judged_like_a_run(tmp_path: Path) -> None:
    said = "2026-01-01 00:00:{},{} DEBUG sqlalchemy.pool.impl.QueuePool Connection <c at 0x7f01> {} pool"
    lines = [
        said.format(second, *what)
        for second in range(10, 40)
        for what in ((100, "checked out from"), (500, "being returned to"))
    ]
    (tmp_path / "pool.log").write_text("\n".join(lines) + "\n")
    report = json.loads(poolctl("diagnose", "--log", "pool.log", "--format", "json", cwd=tmp_path).out)
    assert report["leases"]["returned"] == 30
    assert report["times"]["hold_time_s"]["max"] == pytest.approx(0.4)


def test_settings_are_judged_without_load(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from sqlalchemy.ext.asyncio import create_async_engine\n"
        "engine = create_async_engine('sqlite+aiosqlite:///data.sqlite', max_overflow=-1, pool_timeout=120)\n"
    )
    result = poolctl("diagnose", "--engine", "app:engine", "--window", "0", "--format", "json", cwd=tmp_path)
    assert {"PC401", "PC402"} <= set(findings(json.loads(result.out)))


def test_poolctl_killed_leaves_the_command_alive_and_its_ring_goes_with_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sqlalchemy as sa, time\nengine = sa.create_engine('sqlite:///data.sqlite')\n"
        "open('pid', 'w').write(str(os.getpid()))\n"
        "while not os.path.exists('stop'):\n    engine.connect().close(); time.sleep(0.001)\n"
        "open('fine', 'w').close()\n"
    )
    words = [sys.executable, "-m", "poolctl", "diagnose", "--quiet", "--", sys.executable, str(script)]
    process = subprocess.Popen(words, cwd=tmp_path, env=clean_environment(), stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    # Records may be there before run.json is: a run begins with the latter, and one killed before that is none.
    while not (
        list(tmp_path.glob(".poolctl/runs/*/run.json"))
        and [path for path in tmp_path.glob(".poolctl/runs/*/events-*") if path.stat().st_size > 64 * 200]
    ):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(0.5)
    (tmp_path / "stop").touch()
    while not (tmp_path / "fine").exists():
        assert time.monotonic() < until, "the command did not survive"
        time.sleep(0.05)
    report = poolctl("report", "last", "--format", "json", cwd=tmp_path)
    assert report.err == ""
    assert json.loads(report.out)["leases"]["returned"] > 10
    pid = int((tmp_path / "pid").read_text())
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:  # noqa: PTH110
        time.sleep(0.05)
    poolctl("diagnose", "--quiet", "--", sys.executable, "-c", "import sqlalchemy", cwd=tmp_path)
    assert list(Path("/dev/shm").glob(f"poolctl-{pid}-*"))  # noqa: S108 - its reader's promise holds for half a minute
    for path in Path("/dev/shm").glob(f"poolctl-{pid}-*"):  # noqa: S108
        path.unlink()
