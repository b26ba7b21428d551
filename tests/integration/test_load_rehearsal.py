"""Whole load runs against a real server: what is recorded, and how runs end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text

from poolctl.analysis.leases import tables
from poolctl.errors import InputError, OutputError, TargetError, UsageError
from poolctl.load.find import find
from poolctl.load.plan import LoadPlan
from poolctl.load.session import rehearse
from poolctl.load.tape import OpenTape, draw
from poolctl.target.embedded import EmbeddedPostgres
from poolctl.target.spec import TargetSpec
from poolctl.trace.run import Run

pytestmark = pytest.mark.server

SCENARIO = """
import asyncio
from sqlalchemy import text
from poolctl.load import Scenario, batch_of, closed, exponential, integers, poisson, think, transaction

@transaction(weight=2, product=integers(1, 9), pause=exponential("5ms"))
def plain(connection, product, pause):
    connection.execute(text("select cast(:n as integer)"), {"n": product}).scalar_one()
    think(pause)

@transaction
async def native(connection):
    await connection.execute(text("select 1"))
    await asyncio.sleep(0.001)

@transaction
def in_session(session):
    session.execute(text("select 1"))

@transaction
async def in_async_session(session):
    await session.execute(text("select 1"))

@transaction
async def nested(engine):
    async with engine.connect() as first:
        await first.execute(text("select 1"))
        async with engine.connect() as second:
            await second.execute(text("select 2"))

@transaction
def slow(connection):
    connection.execute(text("select 1"))
    think(1.0)

@transaction
def stuck(connection):
    connection.execute(text("select pg_sleep(60)"))

@transaction
def wrong(connection):
    connection.execute(text("select nonsense"))

class Mixed(Scenario):
    arrivals = poisson("60/s")
    transactions = (plain, native)

class EveryForm(Scenario):
    arrivals = poisson("40/s")
    transactions = (plain, native, in_session, in_async_session, nested)

class Loop(Scenario):
    arrivals = closed(3, "2ms")
    transactions = (plain, native)

class TooMany(Scenario):
    arrivals = batch_of(8, "10s")
    transactions = (slow,)

class Stuck(Scenario):
    arrivals = batch_of(4, "10s")
    transactions = (stuck,)

class Wrong(Scenario):
    arrivals = poisson("20/s")
    transactions = (wrong,)

class Writes(Scenario):
    arrivals = poisson("20/s")
    transactions = (plain,)
    writes = True

class BadSetup(Scenario):
    arrivals = poisson("20/s")
    transactions = (plain,)
    def setup(connection):
        connection.execute(text("create table nonsense"))

class RaisingSetup(BadSetup):
    def setup(connection):
        raise ValueError("no such shop")
"""


@pytest.fixture
def plan(tmp_path: Path, postgres_url: str) -> Callable[..., LoadPlan]:
    (tmp_path / "cases.py").write_text(SCENARIO)

    def make(
        name: str, duration_s: float = 1.5, processes: int = 1, drain_s: float = 5.0, **target: object
    ) -> LoadPlan:
        spec = TargetSpec(**{"url": postgres_url, "allow_writes": True, **target})  # type: ignore[arg-type]
        return LoadPlan(
            find(f"{tmp_path / 'cases.py'}:{name}"),
            spec,
            seed=7,
            duration_s=duration_s,
            processes=processes,
            drain_s=drain_s,
            runs_dir=tmp_path / "runs",
        )

    return make


def nothing_is_left(url: str, run: Run | None = None) -> None:
    """No worker, no ring, no session of the load on the server."""
    pids = run.read_meta()["workers_pids"] if run else []
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    for names in run.path.glob("names-*.jsonl") if run else ():
        assert not Path(json.loads(names.read_text().splitlines()[0])["ring"]).exists()
    while (left := load_sessions(url)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == 0


def load_sessions(url: str) -> int:
    engine = create_engine(url.replace("+asyncpg", "+psycopg"))
    with engine.connect() as connection:
        count = connection.execute(
            text("select count(*) from pg_stat_activity where application_name = 'poolctl-load'")
        ).scalar_one()
    engine.dispose()
    return int(count)


def test_every_work_item_is_started_at_its_instant_and_recorded_once(plan, postgres_url):
    seen = []
    run = rehearse(plan("Mixed"), seen.append)
    meta, operations = run.read_meta(), tables(run).operations.sort_values("item")
    tape = draw(plan("Mixed").found.scenario, 7, 1.5)
    assert isinstance(tape, OpenTape)
    assert meta["end"] == "completed"
    assert meta["tape"] == tape.digest()
    assert meta["load"]["arrivals"] == len(tape) == len(operations)
    assert operations["item"].tolist() == list(range(len(tape)))
    assert operations["transaction"].tolist() == [work.transaction.name for work in tape.work]
    assert operations["intended_at_s"].to_numpy() == pytest.approx(tape.due_ns / 1e9, abs=1e-6)
    assert (operations["outcome"] == "done").all()
    assert (operations["started_at_s"] >= operations["intended_at_s"] - 1e-9).all()
    assert {progress.phase for progress in seen} >= {"setting up", "running"}
    nothing_is_left(postgres_url, run)


def test_two_processes_play_the_same_items_at_the_same_instants_as_one(plan, postgres_url):
    one, two = rehearse(plan("Mixed")), rehearse(plan("Mixed", processes=2))

    def played(run: Run) -> list[tuple[int, str, int]]:
        table = tables(run).operations.sort_values("item")
        instants = (table["intended_at_s"] * 1e6).round().astype(int)
        return list(zip(table["item"], table["transaction"].astype(str), instants, strict=True))

    assert played(one) == played(two)
    assert len(two.event_files()) == 2
    assert all(len(tables(two).operations.query("process == @pid")) > 0 for pid in two.read_meta()["workers_pids"])
    nothing_is_left(postgres_url, two)


@pytest.mark.parametrize("name", ["Mixed", "Loop"])
def test_locusts_own_statistics_agree_with_the_trace_to_the_last_operation(plan, name):
    run = rehearse(plan(name, processes=2))
    counted = tables(run).operations["transaction"].astype(str).value_counts().to_dict()
    assert {name: entry["requests"] for name, entry in run.read_meta()["locust"].items()} == counted


def test_a_ctrl_c_that_reaches_the_workers_too_changes_nothing(plan):
    def poke(progress: object) -> None:
        if progress.phase == "running":  # type: ignore[attr-defined]
            for child in psutil.Process().children():
                if "poolctl.load.worker" in child.cmdline():
                    child.send_signal(signal.SIGINT)

    run = rehearse(plan("Mixed"), poke)
    assert run.read_meta()["end"] == "completed"
    assert (tables(run).operations["outcome"] == "done").all()


def test_a_run_without_a_single_arrival_is_a_run(plan):
    run = rehearse(plan("Mixed", duration_s=0.001))
    assert run.read_meta()["load"]["arrivals"] == 0
    assert run.read_meta()["end"] == "completed"
    assert len(tables(run).operations) == 0


def test_a_transaction_may_take_a_connection_a_session_or_the_engine_in_both_styles(plan, postgres_url):
    run = rehearse(plan("EveryForm", duration_s=2.0))
    found = tables(run)
    assert (found.operations["outcome"] == "done").all()
    forms = {"plain", "native", "in_session", "in_async_session", "nested"}
    per_item = found.leases.groupby(["context", "item"], observed=True).size()
    assert set(per_item.index.get_level_values("context")) == forms
    assert (per_item["nested"] == 2).all()
    assert (per_item.drop("nested") == 1).all()
    assert set(found.leases["function"].astype(str)) == forms
    assert found.leases["file"].astype(str).str.endswith("cases.py").all()
    nothing_is_left(postgres_url, run)


def test_clients_of_a_closed_model_do_their_own_rows_in_order(plan, postgres_url):
    run = rehearse(plan("Loop", duration_s=1.0, processes=2))
    operations = tables(run).operations.sort_values(["client", "item"])
    assert set(operations["client"]) == {0, 1, 2}
    for _, rows in operations.groupby("client"):
        assert rows["item"].tolist() == list(range(len(rows)))
        assert len(rows) > 10
        assert (rows["started_at_s"].to_numpy()[1:] >= rows["ended_at_s"].to_numpy()[:-1]).all()
    nothing_is_left(postgres_url, run)


def test_a_pool_that_is_too_small_times_out_and_the_open_model_goes_on(plan):
    run = rehearse(plan("TooMany", duration_s=0.5, pool_size=1, max_overflow=0, pool_timeout_s=1.6))
    found = tables(run)
    assert found.operations["outcome"].astype(str).value_counts().to_dict() == {"timed_out": 6, "done": 2}
    assert found.leases["end"].astype(str).value_counts().to_dict() == {"timed_out": 6, "returned": 2}
    assert found.operations["response_time_s"].min() >= 1.0


def test_what_is_in_flight_at_the_end_is_cancelled_after_the_drain_and_gives_its_connection_back(plan, postgres_url):
    run = rehearse(plan("Stuck", duration_s=0.5, drain_s=0.2, pool_size=2, max_overflow=0))
    found = tables(run)
    assert (found.operations["outcome"] == "cancelled").all()
    assert len(found.operations) == 4
    assert not (found.leases["end"] == "open").any()
    assert [ending["cancelled"] for ending in run.read_meta()["workers"]] == [4]
    nothing_is_left(postgres_url, run)


def test_an_operation_that_fails_is_a_result(plan):
    run = rehearse(plan("Wrong", duration_s=1.0))
    operations = tables(run).operations
    assert (operations["outcome"] == "failed").all()
    assert run.read_meta()["locust"]["wrong"]["failures"] == len(operations) > 5


def test_run_json_says_what_ran_on_what_and_no_secret(plan, postgres_url):
    secret = postgres_url.replace("postgres@", "postgres:hunter2@")
    run = rehearse(plan("Mixed", duration_s=0.5, url=secret, pool_size=3, max_overflow=1))
    meta = run.read_meta()
    assert meta["target"]["settings"]["pool_size"] == 3
    assert meta["target"]["server"]["max_connections"] == 100
    assert (meta["scenario"], meta["seed"], meta["processes"], meta["source"]["class"]) == ("cases", 7, 1, "Mixed")
    assert meta["source"]["sha256"] == find(meta["source"]["file"] + ":Mixed").digest
    assert meta["think_in_hold"] is True
    assert meta["load"]["offered_per_s"] == meta["load"]["arrivals"] / 0.5
    for file in run.path.iterdir():
        assert b"hunter2" not in file.read_bytes()
    assert len((run.path / "server.jsonl").read_text().splitlines()) >= 1 if meta["ended_at_s"] > 1 else True


def test_writes_to_a_database_of_the_users_own_need_permission(plan, tmp_path):
    with pytest.raises(UsageError, match="Writes would write"):
        rehearse(plan("Writes", allow_writes=False))
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [("BadSetup", TargetError, "syntax error"), ("RaisingSetup", InputError, "ValueError: no such shop")],
)
def test_a_set_up_that_fails_is_one_clear_line_and_leaves_no_run(plan, tmp_path, postgres_url, name, error, says):
    with pytest.raises(error, match=f"the set-up of {name} failed: .*{says}") as raised:
        rehearse(plan(name))
    assert "\n" not in raised.value.message
    assert list((tmp_path / "runs").iterdir()) == []
    nothing_is_left(postgres_url)


def test_an_unreachable_server_is_a_target_error_and_leaves_no_run(plan, tmp_path):
    with pytest.raises(TargetError, match="connection refused"):
        rehearse(plan("Mixed", url="postgresql+asyncpg://me:hunter2@127.0.0.1:1/x"))
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_scenario_that_changes_between_processes_is_refused(plan, tmp_path):
    file = tmp_path / "moody.py"
    file.write_text(
        "import os\nfrom poolctl.load import Scenario, poisson, transaction\n"
        "@transaction(pid=os.getpid())\ndef look(connection, pid): pass\n"
        "class Moody(Scenario):\n    arrivals = poisson(20)\n    transactions = (look,)\n"
    )
    made = plan("Mixed")
    with pytest.raises(UsageError, match="gave another tape"):
        rehearse(LoadPlan(find(str(file)), made.target, seed=7, duration_s=1.0, runs_dir=made.runs_dir))


def test_a_disk_that_fills_up_ends_the_run_with_one_clear_line(plan, postgres_url):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(progress: object) -> None:
        if progress.phase == "running":  # type: ignore[attr-defined]
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))

    try:
        with pytest.raises(OutputError, match="cannot write"):
            rehearse(plan("Mixed", duration_s=20.0), fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    nothing_is_left(postgres_url)


def test_a_worker_that_is_killed_ends_the_run_and_is_named(plan, postgres_url):
    killed = []

    def kill(progress: object) -> None:
        if progress.phase == "running" and progress.operations > 5 and not killed:  # type: ignore[attr-defined]
            killed.append(next(c for c in psutil.Process().children() if "poolctl.load.worker" in c.cmdline()))
            killed[0].kill()

    began = time.monotonic()
    run = rehearse(plan("Mixed", duration_s=60.0, processes=2), kill)
    meta = run.read_meta()
    assert time.monotonic() - began < 30
    assert meta["end"] == "worker died"
    assert f"(process {killed[0].pid}) ended by SIGKILL" in meta["end_detail"]
    assert len(tables(run).operations) > 5
    nothing_is_left(postgres_url, run)


def test_a_server_that_is_killed_ends_the_run_and_nothing_hangs(plan):
    with EmbeddedPostgres() as postgres:
        killed_at = []

        def kill(progress: object) -> None:
            if progress.phase == "running" and progress.operations > 5 and not killed_at:  # type: ignore[attr-defined]
                os.kill(postgres.pid, signal.SIGKILL)
                killed_at.append(time.monotonic())

        run = rehearse(plan("Mixed", duration_s=60.0, url=postgres.url), kill)
        assert time.monotonic() - killed_at[0] < 25
    meta = run.read_meta()
    assert meta["end"] == "target lost"
    assert "lost" in meta["end_detail"]
    assert len(tables(run).operations) > 5


CONTROL = """
import sys
from pathlib import Path
from poolctl.load.find import find
from poolctl.load.plan import LoadPlan
from poolctl.load.session import rehearse
from poolctl.target.spec import TargetSpec

def tell(progress):
    print(progress.phase, progress.operations, flush=True)

target = TargetSpec() if sys.argv[2] == "embedded" else TargetSpec(url=sys.argv[2])
plan = LoadPlan(find(sys.argv[1] + ":Mixed"), target, seed=7, duration_s=60.0, processes=2, runs_dir=Path(sys.argv[3]))
print(rehearse(plan, tell).path, flush=True)
"""


def start_control(tmp_path: Path, url: str) -> subprocess.Popen[str]:
    (tmp_path / "cases.py").write_text(SCENARIO)
    command = [sys.executable, "-c", textwrap.dedent(CONTROL), str(tmp_path / "cases.py"), url, str(tmp_path / "runs")]
    control = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in control.stdout:
        phase, _, operations = line.rpartition(" ")
        if phase == "running" and int(operations) > 20:
            return control
    raise AssertionError(control.stderr.read())


def descendants(control: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(control.pid).children(recursive=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupt_keeps_what_was_recorded_and_leaves_nothing_behind(tmp_path, postgres_url, number):
    control = start_control(tmp_path, postgres_url)
    asked_at = time.monotonic()
    control.send_signal(number)
    out, err = control.communicate(timeout=30)
    assert time.monotonic() - asked_at < 10
    assert (control.returncode, err) == (0, "")
    run = Run.open(out.splitlines()[-1])
    operations = tables(run).operations
    assert run.read_meta()["end"] == "interrupted"
    assert len(operations) > 20
    assert operations["outcome"].isin(["done", "cancelled"]).all()
    nothing_is_left(postgres_url, run)


def test_a_second_interrupt_ends_at_once_and_still_leaves_nothing_behind(tmp_path, postgres_url):
    control = start_control(tmp_path, postgres_url)
    control.send_signal(signal.SIGINT)
    time.sleep(0.15)
    control.send_signal(signal.SIGINT)
    _, err = control.communicate(timeout=30)
    assert (control.returncode in (1, -2, 130) and "KeyboardInterrupt" in err) or control.returncode == 0
    run = Run.open("last", tmp_path / "runs")
    assert run.read_meta()["end"] == "interrupted"
    nothing_is_left(postgres_url, run)


def test_a_killed_poolctl_takes_workers_rings_and_server_along(tmp_path):
    control = start_control(tmp_path, "embedded")
    family = descendants(control)
    assert len(family) > 3
    run = Run.open("last", tmp_path / "runs")
    control.kill()
    control.communicate()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    for names in run.path.glob("names-*.jsonl"):
        assert not Path(json.loads(names.read_text().splitlines()[0])["ring"]).exists()
    assert run.read_meta()["end"] == "interrupted"


def test_where_a_load_commits_is_no_line_that_kept_a_connection_idle(plan, postgres_url):
    run = rehearse(plan("Writes", 4.0))
    assert (tables(run).leases["hold_time_s"] > 0.015).any()  # idle long enough to be looked at
    entries = [json.loads(line) for path in run.path.glob("names-*.jsonl") for line in path.read_text().splitlines()]
    assert entries
    assert [entry["until"] for entry in entries if entry["kind"] == "idle"] == []
