"""`poolctl compare` as a user runs it, on recorded runs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import poolctl
from synthesis import operations_of, through_pool, write_run

from poolctl.analysis.compare import Declared
from poolctl.analysis.leases import tables
from poolctl.cli import main
from poolctl.cli.interleaved import Contest, learn
from poolctl.cli.side_process import Variant
from poolctl.config import Settings
from poolctl.trace.comparison import Comparison
from poolctl.trace.run import Run

SURROUNDINGS = {"machine": {"system": "Linux", "cpus": 2}, "versions": {"python": "3.11.7", "sqlalchemy": "2.1.9"}}


def record(root: Path, name: str, *, tape: int, hold: float = 0.02, noise: int = 0, **meta: Any) -> Path:
    """A run of 600 requests on the arrivals of this tape."""
    draws, machine = np.random.default_rng(tape), np.random.default_rng(1000 + noise)
    at = np.cumsum(draws.exponential(1 / 100, 600))
    holds = hold * draws.lognormal(-0.1, 0.4, 600) * np.exp(0.02 * machine.standard_normal(600))
    leases = through_pool(zip(at, holds, strict=True), 4)
    said = {"tape": f"tape-{tape}", "scenario": "orders", "started_at": f"2026-05-28T20:{tape:02}:00"}
    settings = {"pool_size": 4, "max_overflow": 0}
    return write_run(
        root,
        leases,
        operations=operations_of(leases),
        name=name,
        settings=settings,
        duration=7.0,
        **said | SURROUNDINGS | meta,
    ).path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `project` holds, made once, its tables too."""
    place = tmp_path_factory.mktemp("recorded")
    for number in range(5):
        record(place / "base", f"base-{number}", tape=number, noise=number)
        record(place / "same", f"same-{number}", tape=number, noise=10 + number)
        record(place / "slow", f"slow-{number}", tape=number, noise=20 + number, hold=0.025)
    for run in place.glob("*/*/run.json"):
        tables(Run(run.parent))
    return place


@pytest.fixture
def project(tmp_path: Path, recorded: Path) -> Path:
    """Five runs of base, as many of the same code (`same`), and as many with a longer hold (`slow`)."""
    return shutil.copytree(recorded, tmp_path, dirs_exist_ok=True)


def test_the_same_code_passes_and_a_slower_one_fails(project: Path) -> None:
    same = poolctl("compare", "base", "same", cwd=project)
    assert (same.code, same.err) == (0, ""), same.err
    assert same.out.splitlines()[0].startswith("Not worse by 10 % or more: orders: p95 response")
    slow = poolctl("compare", "base", "slow", cwd=project)
    assert slow.code == 1
    assert slow.out.splitlines()[0].startswith("Worse: orders: p95 response")
    assert "5 pairs of runs, each on one tape" in slow.out


def test_json_is_one_document_and_files_are_written_by_their_ending(project: Path) -> None:
    result = poolctl("compare", "base", "slow", "--format", "json", "--report", "out.md", cwd=project)
    made = Comparison.from_json(json.loads(result.out))
    assert (made.exit_code, made.scenarios[0].paired) == (1, True)
    assert (project / "out.md").read_text().startswith("❌ **Worse: orders")


def test_a_baseline_is_saved_and_found_by_its_name_without_the_raw_records(project: Path) -> None:
    saved = poolctl("compare", "--save", "main", "base", cwd=project)
    assert (saved.code, saved.out) == (0, "")
    kept = project / ".poolctl/baselines/main"
    assert len(list(kept.glob("*/run.json"))) == 5
    assert list(kept.glob("*/events-*")) == []
    assert poolctl("compare", "main", "slow", cwd=project).code == 1
    again = poolctl("compare", "--save", "main", "base", cwd=project)
    assert (again.code, again.errors) == (2, ["error: there is a baseline main already", "hint: --force replaces it"])
    assert poolctl("compare", "--save", "main", "base/base-0", "--force", cwd=project).code == 0
    assert len(list(kept.glob("*/run.json"))) == 1


def test_one_run_a_side_cannot_tell(project: Path) -> None:
    result = poolctl("compare", "base/base-0", "slow/slow-0", cwd=project)
    assert result.code == 4
    assert "Cannot tell" in result.out
    assert poolctl("compare", "base/base-0", "slow/slow-0", "--inconclusive", "fail", cwd=project).code == 1


def test_a_foreign_baseline_is_refused_unless_told_otherwise(project: Path) -> None:
    other = {"machine": {"system": "Linux", "cpus": 64}}
    for number in range(5):
        record(project / "foreign", f"foreign-{number}", tape=number, noise=30 + number, **other)
    refused = poolctl("compare", "foreign", "same", cwd=project)
    assert refused.code == 2
    assert refused.errors[0] == "error: the base is foreign, machine cpus: 64 → 2"
    allowed = poolctl("compare", "foreign", "same", "--allow-foreign-baseline", cwd=project)
    assert allowed.code == 0
    assert "machine cpus: 64 → 2" in allowed.out


def test_a_wider_margin_accepts_more(project: Path) -> None:
    assert poolctl("compare", "base", "slow", "--margin", "200%", cwd=project).code == 0


def test_a_history_names_the_run_from_which_it_was_slower(tmp_path: Path) -> None:
    for number in range(14):
        hold = 0.02 if number < 8 else 0.026
        record(tmp_path / "all", f"run-{number:02}", tape=number, noise=number, hold=hold)
    result = poolctl("compare", "--history", "all", cwd=tmp_path)
    assert result.code == 1
    assert "since run run-0" in result.out.splitlines()[0]
    assert poolctl("compare", "--history", "all", "all", cwd=tmp_path).code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["base"], "compare takes two sides"),
        (["base", "nothing"], "'nothing' is not a run"),
        (["base", "base"], "is on both sides"),
        (["base", "same", "--margin", "much"], "--margin: cannot read 'much'"),
        (["base", "same", "--margin", "0"], "margin 0: must be more than 0"),
        (["base", "same", "--primary", "speed"], "there is no time 'speed'"),
        (["--save", "a/b", "base"], "a baseline cannot be called 'a/b'"),
        (["--save", "main"], "--save needs the runs to keep"),
        (["base", "same", "--head-dir", "."], "--head-dir needs --ab"),
        (["--ab"], "--ab takes scenarios"),
        (["--ab", "bursty"], "base and head are the same"),
        (["--ab", "bursty", "--head", "--pool-size '"], "--head: cannot read"),
        (["--ab", "bursty", "--calibrate", "--head-dir", "."], "--calibrate runs the base against itself"),
        (["--ab", "bursty", "--head-dir", "missing"], "there is no directory"),
        (["--ab", "bursty", "--head", "--fifo", "--pairs", "1"], "--pairs 1: must be 2 or more"),
        (["--ab", "bursty", "--head", "--fifo", "--pairs", "4", "--looks", "3"], "--looks 3: 4 pairs allow 1 to 2"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(
    project: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project)
    assert main(["compare", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.splitlines()[0]
    assert len(err.splitlines()) <= 2


STEADY = '''"""Steady work."""
from poolctl.load import Scenario, poisson, think, transaction
from sqlalchemy import text

@transaction
def work(connection):
    for _ in range({statements}):
        connection.execute(text("select 1"))
    think(0.01)

class Steady(Scenario):
    arrivals = poisson("60/s")
    transactions = (work,)
    objectives = ()
'''


@pytest.mark.server
def test_an_extra_statement_in_one_of_two_checkouts_fails_after_the_first_pair(
    tmp_path: Path, postgres_url: str
) -> None:
    for name, statements in (("old", 1), ("new", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "queue.py").write_text(f"{STEADY.format(statements=statements)}\nprint('talkative')\n")
    sides = ("--base-dir", tmp_path / "old", "--head-dir", tmp_path / "new", "--head-python", sys.executable)
    load = ("--url", postgres_url, "--duration", "2s", "--seed", "5", "--pairs", "4", "--looks", "2")
    result = poolctl("compare", "--ab", "queue.py", *sides, *load, "--format", "json", cwd=tmp_path, timeout=240)
    assert result.code == 1, result.err
    made = Comparison.from_json(json.loads(result.out))
    (scenario,) = made.scenarios
    row = next(row for row in scenario.measures if row.name == "statements per lease")
    assert (row.base, row.head, row.verdict) == (1.0, 2.0, "fail")
    assert (made.look, len(scenario.base_runs), scenario.paired) == (1, 1, True)
    again = poolctl(*result.errors[-1].partition("poolctl ")[2].split(), "--allow-foreign-baseline", cwd=tmp_path)
    assert again.code == 1


@pytest.mark.server
def test_two_settings_are_run_in_turns_on_the_same_tapes_base_first_then_head_first(
    tmp_path: Path, postgres_url: str
) -> None:
    (tmp_path / "steady.py").write_text(STEADY.format(statements=1))
    load = ("--url", postgres_url, "--duration", "1s", "--seed", "5", "--pairs", "2", "--looks", "1", "--quiet")
    asked = ("compare", "--ab", "steady.py", "--head", "--lifo", *load, "--format", "json")
    result = poolctl(*asked, cwd=tmp_path, timeout=240)
    assert result.code in (0, 1, 4), result.err  # what two runs of a second say of a busy machine's times is no matter
    made = Comparison.from_json(json.loads(result.out))
    assert (made.base, made.head) == ("as it is", "--lifo")
    (place,) = (tmp_path / ".poolctl/ab").iterdir()
    facts = [
        {"side": side, **json.loads(path.read_text())}
        for side in ("base", "head")
        for path in (place / side).glob("*/run.json")
    ]
    facts.sort(key=lambda run: run["started_at"])
    assert [run["side"] for run in facts] == ["base", "head", "head", "base"]
    seeds = [run["seed"] for run in facts]
    assert seeds == [seeds[0], seeds[0], seeds[2], seeds[2]] != [seeds[0]] * 4  # a pair made again has another seed
    assert len({run["tape"] for run in facts}) == 2
    assert [run["target"]["settings"]["lifo"] for run in facts] == [False, True, True, False]
    assert [path.name for path in place.glob("*/*/report.json")] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--head-python", "missing/python"), "error: head: cannot run missing/python: No such file or directory"),
        (("--head", "--pool-size none"), "error: base: there is no scenario"),
    ],
)
def test_a_side_that_cannot_run_says_why_in_one_line(project: Path, options: tuple[str, ...], said: str) -> None:
    result = poolctl("compare", "--ab", "nosuch", *options, "--url", "sqlite+aiosqlite://", "--quiet", cwd=project)
    assert (result.code, result.out) == (2, "")
    assert result.errors[0].startswith(said), result.err
    assert len(result.errors) <= 2


@pytest.mark.server
def test_a_run_is_held_to_its_baseline(tmp_path: Path, postgres_url: str) -> None:
    scenario = tmp_path / "steady.py"
    scenario.write_text(STEADY.format(statements=1))
    common = ("loadtest", scenario, "--url", postgres_url, "--duration", "1.5s", "--seed", "5", "--quiet")
    assert poolctl(*common, cwd=tmp_path).code in (0, 4)  # 4: the machine was busy
    assert poolctl("compare", "--save", "main", "last", cwd=tmp_path).code == 0
    held = poolctl(*common, "--baseline", "main", "--format", "json", cwd=tmp_path)
    rows = {row["objective"]: row["verdict"] for row in json.loads(held.out)["objectives"]}
    assert held.code == 4
    assert rows["count statements per lease <= baseline"] == "pass"
    assert rows["p95 response <= baseline + 10 %"] == "inconclusive"
    scenario.write_text(STEADY.format(statements=2))
    refused = poolctl(*common, "--baseline", "main", cwd=tmp_path)
    assert refused.code == 2
    assert "the base is foreign, scenario file" in refused.errors[0]
    held = poolctl(*common, "--baseline", "main", "--allow-foreign-baseline", cwd=tmp_path)
    assert held.code == 1
    assert poolctl(*common, "--baseline", "missing", cwd=tmp_path).code == 2


def test_a_calibration_is_remembered_and_a_margin_below_it_is_refused(project: Path) -> None:
    settings = Settings(runs_dir=str(project / ".poolctl/runs"))
    for side, runs in (("base", "base"), ("head", "same")):
        shutil.copytree(project / runs, project / "aa" / side)
    alike = (Variant("base"), Variant("head"))
    contest = Contest(("orders",), alike, (), 5, 1, Declared(), names_target=True, calibrate=True, root=project / "aa")
    learn(contest, settings)
    assert json.loads((project / ".poolctl/noise.json").read_text())["orders"]["pairs"] == 5

    refused = poolctl("compare", "--ab", "orders", "--head", "--fifo", "--margin", "0.0001", cwd=project)
    assert refused.code == 2
    assert "lies below what 8 pairs can show here" in refused.errors[0]
    one = poolctl("compare", "base/base-0", "slow/slow-0", cwd=project)
    assert one.code == 1, one.out
