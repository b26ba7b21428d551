"""The same file under locust's own command, for real: re-executed unpatched, alone and with worker processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from poolctl.load.find import find

pytestmark = pytest.mark.server

SCENARIO = """
import sys, threading
from gevent.monkey import is_module_patched
from locust import events
from sqlalchemy import text
from poolctl.load import Scenario, poisson, transaction

@transaction
def look(connection):
    assert not is_module_patched("threading")
    assert threading.current_thread().name == "poolctl-loop"
    connection.execute(text("select 1"))

@transaction(weight=0.2)
def wrong(connection):
    connection.execute(text("select nonsense"))

heard = []

@events.request.add_listener
def hear(name, **_):
    heard.append(name)

@events.quit.add_listener
def tell(**_):
    sys.stderr.write(f"heard {len(heard)}\\n")

class Shop(Scenario):
    arrivals = poisson("40/s")
    transactions = (look, wrong)
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "shop.py"
    file.write_text(SCENARIO)
    return file


Table = dict[str, tuple[int, int]]
"""Requests and failures by transaction."""


def locust(file: Path, *more: str, url: str | None = None) -> tuple[int, str, Table]:
    """Return locust's exit code, its standard error and its statistics."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LOCUST_", "POOLCTL_"))}
    if url:
        environment |= {"POOLCTL_URL": url, "POOLCTL_ALLOW_WRITES": "1"}
    out = file.with_name("statistics")
    program = str(Path(sys.executable).with_name("locust"))
    command = [program, "-f", str(file), "--headless", "-t", "5s", "--json-file", str(out), "--only-summary", *more]
    done = subprocess.run(
        command, env=environment, cwd=file.parent, capture_output=True, text=True, timeout=60, check=False
    )
    written = list(file.parent.glob("statistics*"))
    entries = json.loads(written[0].read_text()) if written else []
    table = {entry["name"]: (entry["num_requests"], entry["num_failures"]) for entry in entries}
    return done.returncode, done.stderr, table


def test_locust_runs_a_scenario_file_unpatched_and_its_listeners_hear_every_result(scenario, postgres_url):
    code, said, table = locust(scenario, url=postgres_url)
    assert "Traceback" not in said
    assert code == 1, said  # locust's own code for runs with failures
    assert table["look"][0] > 60
    assert table["look"][1] == 0
    assert table["wrong"][1] == table["wrong"][0] > 3
    assert f"heard {table['look'][0] + table['wrong'][0]}\n" in said


def test_worker_processes_of_locust_play_one_tape_together(scenario, postgres_url):
    code, said, table = locust(scenario, "--processes", "2", "-u", "2", "-r", "2", url=postgres_url)
    assert "Traceback" not in said
    assert code == 1, said
    assert 40 < table["look"][0] < 200  # 40/s in all, not for each process
    assert table["wrong"][1] == table["wrong"][0]
    heard = [int(count) for count in re.findall(r"heard (\d+)", said)]
    assert sorted(heard)[0] == 0, "the master plays nothing"
    assert len([count for count in heard if count > 10]) == 2
    assert sum(heard) == table["look"][0] + table["wrong"][0]


def test_without_a_url_locust_gets_the_embedded_postgresql_with_the_shop_and_it_is_gone_afterwards(tmp_path):
    file = tmp_path / "low.py"
    file.write_text(find("low_concurrency").path.read_text().replace('"4/s"', '"40/s"'))
    code, said, table = locust(file, "-t", "6s")
    assert (code, "Traceback" in said) == (0, False), said
    assert table["get_product"][0] > 30
    assert table["restock"][1] == 0
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and keepers_of(tmp_path):
        time.sleep(0.1)
    assert keepers_of(tmp_path) == []


def keepers_of(directory: Path) -> list[int]:
    """Return the processes that keep an embedded server and were started in `directory`."""
    found = psutil.process_iter(["cmdline", "cwd"])
    return [
        one.pid
        for one in found
        if "keeper.py" in " ".join(one.info["cmdline"] or []) and one.info["cwd"] == str(directory)
    ]


def test_two_scenarios_in_one_run_are_refused_in_one_line(scenario, postgres_url):
    scenario.write_text(
        SCENARIO + "\nclass Other(Scenario):\n    arrivals = poisson('5/s')\n    transactions = (look,)\n"
    )
    code, said, _ = locust(scenario, url=postgres_url)
    assert code == 2
    assert "poolctl: several poolctl scenarios in one run of locust" in said
    assert "Traceback" not in said


def test_a_target_that_cannot_be_reached_ends_locust_with_the_reason(scenario):
    code, said, table = locust(scenario, url="postgresql+asyncpg://me:hunter2@127.0.0.1:1/shop")
    assert code == 3
    assert "connection refused" in said
    assert "Traceback" not in said
    assert "hunter2" not in said
    assert table == {}
