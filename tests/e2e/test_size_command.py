"""`poolctl size`: recorded traffic at other sizes and in other circumstances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Result, poolctl
from sizing_cases import bursts, holds, poisson
from synthesis import operations_of, through_pool, write_run

from poolctl.trace.report import Report
from poolctl.trace.run import DEFAULT_ROOT

STARVED = "20260101-000000-aaaa"
ROOMY = "20260101-000100-bbbb"


def record(cwd: Path, name: str, size: int, *, scripted: bool = True, burst: bool = False, **meta: Any) -> None:
    """A run of a minute: 40 requests a second of 60 ms each, from one tape."""
    at = bursts(60.0, 4) if burst else poisson(40.0, 60.0, 3)
    work = list(zip(at.tolist(), holds(len(at), 5, 0.05).tolist(), strict=True))
    leases = through_pool(work, size, timeout=0.5, connect=0.004, sql=0.002)
    settings = {"pool_size": size, "max_overflow": 0, "pool_timeout_s": 0.5}
    operations = operations_of(leases) if scripted else ()
    write_run(
        cwd / DEFAULT_ROOT,
        leases,
        settings=settings,
        operations=operations,
        name=name,
        duration=60.0,
        tape="t1",
        **meta,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs")
    record(directory, STARVED, 2)
    record(directory, ROOMY, 12)
    return directory


def size(cwd: Path, *arguments: str) -> Result:
    return poolctl("size", *arguments, "--format", "json", cwd=cwd)


def answer(result: Result) -> Report:
    assert result.out, result.err
    return Report.from_json(json.loads(result.out))


def recommended(cwd: Path, *arguments: str) -> int:
    result = size(cwd, *arguments)
    best = answer(result).sizing.recommended  # type: ignore[union-attr]
    assert best is not None, result.out
    assert best.pool_size is not None
    return best.pool_size


def test_it_shows_the_answer_the_curve_the_grid_and_what_the_model_is_worth(runs: Path) -> None:
    shown = poolctl("size", ROOMY, cwd=runs)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("Set pool_size=")
    for heading in ("valid for", "The curve", "At other sizes", "p95 wait by pool_size", "Rules of thumb", "measured"):
        assert heading in shown.out
    assert "\x1b" not in shown.out
    assert max(map(len, shown.out.splitlines())) <= 100


def test_the_default_is_the_newest_run_and_what_is_asked_for_is_predicted(runs: Path) -> None:
    report = answer(size(runs, "--pool-size", "3,5-6", "--max-overflow", "0,4"))
    assert report.run.id == ROOMY
    assert report.command == "size"
    pairs = {(p.pool_size, p.max_overflow) for p in report.sizing.predictions}  # type: ignore[union-attr]
    assert {(3, 0), (3, 4), (5, 0), (5, 4), (6, 0), (6, 4)} <= pairs


def test_markdown_has_the_same_answer(runs: Path) -> None:
    text = poolctl("size", ROOMY, "--format", "markdown", cwd=runs).out
    assert text.startswith("**Set pool_size=")
    assert "```python" in text
    assert "| size + overflow |" in text


def test_what_if_changes_the_answer_as_it_should(runs: Path) -> None:
    today = recommended(runs, ROOMY)
    assert recommended(runs, ROOMY, "--arrivals", "2") > today
    assert recommended(runs, ROOMY, "--arrivals", "50%") < today
    assert recommended(runs, ROOMY, "--hold", "checkout=0.5") < today
    assert recommended(runs, ROOMY, "--processes", "2") < today


def test_the_path_and_the_caller_bound_recycle_and_timeout(runs: Path) -> None:
    best = answer(size(runs, ROOMY, "--deadline", "400ms", "--idle-limit", "10m")).sizing.recommended  # type: ignore[union-attr]
    assert best is not None
    assert best.pool_recycle_s == 300
    assert best.pool_timeout_s is not None
    assert best.pool_timeout_s < 0.4


def test_a_server_without_room_is_an_answer_with_exit_code_1(runs: Path) -> None:
    just = str(2 * recommended(runs, ROOMY) - 1)
    assert size(runs, ROOMY, "--server-connections", just).code == 0
    refused = size(runs, ROOMY, "--server-connections", just, "--rolling")
    assert refused.code == 1
    report = answer(refused)
    assert report.verdict == "no size helps"
    assert "twice that in a rolling deploy" in report.summary


def test_several_runs_predict_each_other(runs: Path) -> None:
    report = answer(size(runs, STARVED, ROOMY))
    assert report.run.id == ROOMY
    sizing = report.sizing
    assert sizing is not None
    assert [(each.run_id, each.from_run, each.backtest.ok) for each in sizing.across] == [
        (STARVED, ROOMY, True),
        (ROOMY, STARVED, True),
    ]
    assert sizing.recommended is not None


def test_runs_that_contradict_each_other_give_no_advice(tmp_path: Path) -> None:
    record(tmp_path, ROOMY, 12)
    at = poisson(40.0, 60.0, 3)
    slow = through_pool(list(zip(at.tolist(), np.full(len(at), 0.09).tolist(), strict=True)), 4, timeout=0.5, sql=0.002)
    settings = {"pool_size": 4, "max_overflow": 0, "pool_timeout_s": 0.5}
    write_run(tmp_path / DEFAULT_ROOT, slow, settings=settings, operations=operations_of(slow), name=STARVED, tape="t1")
    result = size(tmp_path, STARVED, ROOMY)
    assert result.code == 4
    assert "do not predict each other" in answer(result).summary


def test_too_short_for_its_own_traffic_is_no_advice_with_exit_code_4(tmp_path: Path) -> None:
    record(tmp_path, ROOMY, 12, scripted=False, burst=True)
    result = size(tmp_path)
    assert result.code == 4
    assert answer(result).summary.startswith("No advice: ")
    assert size(tmp_path, "--inconclusive", "pass").code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pool-size", "0"], "'0' is not within 1 to"),
        (["--pool-size", "4;5"], "cannot read '4;5'"),
        (["--max-overflow", "9-3"], "'9-3' is not within"),
        (["--arrivals", "0"], "cannot read '0' as a factor"),
        (["--hold", "checkout"], "cannot read 'checkout'"),
        (["--hold", "nobody=0.5"], "no site or context of the run contains 'nobody'"),
        (["--processes", "0"], "must be 1 or more"),
        (["--deadline", "soon"], "cannot read 'soon' as a duration"),
        (["--idle-limit", "0s"], "must be more than 0"),
        (["--verify"], "cannot be played again"),
        (["--verify", "--sql", "2"], "runs what was recorded, not what if"),
    ],
)
def test_what_cannot_be_is_two_lines_and_code_2(runs: Path, options: list[str], said: str) -> None:
    result = poolctl("size", ROOMY, *options, cwd=runs)
    assert (result.code, result.out) == (2, "")
    assert len(result.errors) == 2
    assert said in result.errors[0]
