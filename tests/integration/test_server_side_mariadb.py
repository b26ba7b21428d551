"""MariaDB's side of a window: idle timeouts and the cure that is proposed, orphans, locks, what a role may not see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import poolctl
from mariadb import ASYNC_DRIVERS, SYNC_DRIVERS, MariaDB, running_mariadb
from sick_apps import site_of
from watched import Watched, found

from poolctl.errors import PoolctlError
from poolctl.policy import Policy
from poolctl.target import probes, probes_mysql
from poolctl.target.server import ServerWatch
from poolctl.target.spec import TargetSpec

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def hasty() -> Iterator[MariaDB]:
    """A MariaDB that closes what is idle for two seconds."""
    with running_mariadb("--wait-timeout=2", "--max-connections=40") as server:
        yield server


def quiet(hasty: MariaDB, directory: Path, engine: dict[str, int]):
    directory.mkdir()
    url, pause = hasty.url("aiomysql"), {"PAUSE": "3.5"}
    return Watched(directory).report("quiet", url, engine=engine, server=hasty.url(), environment=pause)


def test_the_recycle_finding_fires_and_the_setting_it_proposes_makes_it_stop(hasty: MariaDB, tmp_path: Path) -> None:
    sick = quiet(hasty, tmp_path / "sick", {"pool_size": 2})
    recycle = found(sick, "PC404")
    assert recycle is not None
    assert "the server's wait_timeout closes idle connections after 2.00 s" in recycle.title
    assert recycle.severity == "error", recycle.evidence
    assert recycle.sites == [site_of("neighbour", "quiet")]
    assert sick.leases.invalidated == 1
    proposed = re.fullmatch(r"pool_recycle=(\d+)", recycle.advice)
    assert proposed is not None, recycle.advice
    cured = quiet(hasty, tmp_path / "cured", {"pool_size": 2, "pool_recycle": int(proposed[1])})
    assert found(cured, "PC404") is None
    assert cured.leases.invalidated == 0
    assert cured.leases.returned == 2


def test_a_sync_engine_s_settings_are_judged_beside_its_server_s_without_load(hasty: MariaDB, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import sqlalchemy\n"
        f"engine = sqlalchemy.create_engine({hasty.url()!r}, pool_size=30, max_overflow=20, pool_timeout=60)\n"
    )
    told = poolctl("diagnose", "--engine", "shop:engine", "--window", "0", "--format", "json", cwd=tmp_path)
    assert told.code == 0, told.err
    report = json.loads(told.out)
    assert {"PC402", "PC404", "PC501"} <= {finding["code"] for finding in report["findings"]}
    assert report["target"]["server"]["idle_timeout_s"] == 2.0
    assert "maria-secret" not in told.out


def test_a_statement_that_outlives_its_caller_is_an_orphan(hasty: MariaDB, tmp_path: Path) -> None:
    def orphaned(lines: list[dict[str, object]]) -> bool:
        return sum("sleep(?)" in str(line.get("backends")) for line in lines) >= 5

    report = Watched(tmp_path).report(
        "orphan",
        hasty.url("aiomysql"),
        lambda watched: watched.until("server.jsonl", orphaned),
        server=hasty.url(),
    )
    orphans = found(report, "PC504")
    assert orphans is not None
    assert "1 session went on in the server" in orphans.title
    assert "select sleep(?)" in " ".join(orphans.evidence)


def test_a_lock_queue_has_its_head_in_mariadb_too(hasty: MariaDB, tmp_path: Path) -> None:
    hasty.ask("drop table if exists stock")

    def enough(lines: list[dict[str, object]]) -> bool:
        return sum(line.get("lock_waits", 0) == 2 for line in lines) >= 3

    patient = "?init_command=set+session+wait_timeout%3D600"
    report = Watched(tmp_path).report(
        "locks",
        hasty.url("aiomysql") + patient,
        lambda watched: watched.until("server.jsonl", enough),
        server=hasty.url("asyncmy"),
        policy=Policy(hold_time_warning_s=0.5),
    )
    locks, idle = found(report, "PC508"), found(report, "PC503")
    assert locks is not None
    assert locks.sites == [site_of("neighbour", "reserve"), site_of("neighbour", "buy")]
    assert idle is not None
    assert idle.sites == [site_of("neighbour", "reserve")]


@pytest.mark.parametrize("driver", [*SYNC_DRIVERS, *ASYNC_DRIVERS])
def test_every_driver_shows_the_same_server(hasty: MariaDB, driver: str) -> None:
    with ServerWatch(TargetSpec(url=hasty.url(driver))) as watch:
        info, sample = watch.probe(), watch.sample()
        assert (info.max_connections, info.idle_timeout_s, info.replica) == (40, 2.0, False)
        assert info.max_used_connections is not None
        assert info.max_used_connections >= 1
        assert sample is not None
        assert sample["uptime_s"] >= 0
        assert watch.blind == []
        with pytest.raises(Exception, match="READ ONLY"):
            watch._ask(watch._beside.ask(lambda connection: probes_mysql.rows(connection, "create table x (n int)")))


@pytest.mark.parametrize("driver", [*SYNC_DRIVERS, *ASYNC_DRIVERS])
def test_every_driver_s_refusal_is_named_for_what_it_is(hasty: MariaDB, driver: str) -> None:
    good = hasty.url(driver)
    for wrong, says in (
        (good.replace(f":{hasty.port}/", ":1/"), "connection refused"),
        (good.replace("127.0.0.1", "no-such-host.invalid"), "unknown host"),
        (good.replace("maria-secret", "other-secret"), "the password was not accepted"),
        (good.replace("/shop", "/nothing"), "no such database"),
        (f"{good}?nonsense=1", "the driver does not know the URL parameter 'nonsense'"),
    ):
        with ServerWatch(TargetSpec(url=wrong)) as watch, pytest.raises(PoolctlError, match=says) as refused:
            watch.probe()
        assert "-secret" not in f"{refused.value} {refused.value.hint}"


def test_a_role_that_may_not_see_others_says_so(hasty: MariaDB) -> None:
    hasty.ask("create or replace user 'blind'@'%' identified by 'x'")
    url = f"mysql+pymysql://blind:x@127.0.0.1:{hasty.port}"
    with ServerWatch(TargetSpec(url=hasty.url())) as other, ServerWatch(TargetSpec(url=url)) as watch:
        other.sample()
        sample = watch.sample()
        assert sample is not None
        assert sample["hidden"] >= 1
        assert sample["sessions"] >= sample["hidden"]
        assert watch.blind == [probes_mysql.NO_TRANSACTIONS, probes.HIDDEN]
