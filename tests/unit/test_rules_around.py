"""The rules about the server and the proxy, beyond their two cases: each branch, each reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from synthesis import WALL, Lease, through_pool, write_run

from poolctl.analysis import findings
from poolctl.analysis.backends import backends, server_blind
from poolctl.analysis.leases import tables
from poolctl.analysis.proxy import Proxy
from poolctl.analysis.sessions import Sessions
from poolctl.analysis.summary import analyse, target_of
from poolctl.analysis.view import View, looked_around
from poolctl.report import render
from poolctl.trace.report import Finding, Severity
from poolctl.watch.around import add_log


def view_of(tmp_path: Path, **arguments: Any) -> View:
    run = write_run(tmp_path, **{"duration": 10.0, **arguments})
    made = tables(run)
    return View(made, target_of(made), **looked_around(run.path))


def said(code: str, tmp_path: Path, **arguments: Any) -> list[Finding]:
    return list(findings.REGISTRY[code].check(view_of(tmp_path, **arguments)))


LEASES = [Lease(0.0, 0.1), Lease(1.0, 0.1)]
SHORT = {"idle_timeout_s": 8.0}


class TestRecycle:
    def test_of_a_pool_that_pings_it_is_a_note(self, tmp_path: Path) -> None:
        [found] = said("PC404", tmp_path, leases=LEASES, server=SHORT, settings={"pre_ping": True})
        assert (found.severity, found.advice) == (Severity.INFO, "pool_recycle=4")

    def test_that_killed_nobody_yet_it_is_a_warning(self, tmp_path: Path) -> None:
        [found] = said("PC404", tmp_path, leases=LEASES, server=SHORT, settings={"pool_recycle_s": 8.0})
        assert found.severity is Severity.WARNING
        assert found.title == "pool_recycle of 8.00 s is not below the server's idle_session_timeout of 8.00 s"

    def test_is_at_most_half_an_hour(self, tmp_path: Path) -> None:
        [found] = said("PC404", tmp_path, leases=LEASES, server={"idle_timeout_s": 28800.0})
        assert found.advice == "pool_recycle=1800"

    def test_behind_a_proxy_only_the_proxy_s_timeout_for_clients_counts(self, tmp_path: Path) -> None:
        quiet = {"server_idle_timeout_s": 600.0}
        assert said("PC404", tmp_path / "a", leases=LEASES, server=SHORT, proxy=quiet) == []
        [found] = said("PC404", tmp_path / "b", leases=LEASES, proxy={"client_idle_timeout_s": 60.0})
        assert "PgBouncer's client_idle_timeout" in found.title
        assert found.advice == "pool_recycle=30"

    def test_too_short_for_whole_seconds_asks_for_a_ping(self, tmp_path: Path) -> None:
        [found] = said("PC404", tmp_path, leases=LEASES, server={"idle_timeout_s": 1.0})
        assert "pool_pre_ping=True" in found.advice

    def test_without_a_queue_there_is_nothing_to_recycle(self, tmp_path: Path) -> None:
        none = {"pool_size": None, "max_overflow": None, "pool_recycle_s": None}
        assert said("PC404", tmp_path, leases=LEASES, server=SHORT, settings=none, pool_class="NullPool") == []

    def test_a_lease_that_broke_while_it_was_held_did_not_die_of_idling(self, tmp_path: Path) -> None:
        leases = [Lease(0.0, 0.1), Lease(0.5, 9.0, end="invalidated")]
        [found] = said("PC404", tmp_path, leases=leases, server=SHORT)
        assert found.severity is Severity.WARNING


def up(at: float, uptime: float | None = None, **more: Any) -> dict[str, Any]:
    return {"at": at, "uptime_s": 100.0 + at if uptime is None else uptime, "replica": False, "connects": 1} | more


class TestBreaks:
    def test_a_gap_has_its_beginning_and_its_end(self, tmp_path: Path) -> None:
        lines = [up(1.0), {"at": 2.0, "gone": "refused"}, {"at": 3.0, "gone": "refused"}, up(4.5)]
        view = view_of(tmp_path, leases=LEASES, around={"server.jsonl": lines})
        [found] = Sessions(view).breaks()
        assert (found.at_s, found.says) == (pytest.approx(2.0), "it could not be reached until second 4.5")

    def test_a_server_that_does_not_come_back_is_one(self, tmp_path: Path) -> None:
        [found] = said("PC505", tmp_path, leases=LEASES, around={"server.jsonl": [up(1.0), {"at": 2.0, "gone": "x"}]})
        assert "could not be reached any more" in found.title

    def test_what_came_before_the_run_or_after_it_is_not_its_own(self, tmp_path: Path) -> None:
        lines = [up(-3.0), {"at": -2.0, "gone": "x"}, up(-1.0, 1.0), up(5.0, 7.0), {"at": 11.0, "gone": "x"}]
        assert said("PC505", tmp_path, leases=LEASES, around={"server.jsonl": lines}) == []

    def test_a_change_of_role_is_a_failover(self, tmp_path: Path) -> None:
        lines = [up(1.0), up(2.0, replica=True)]
        [found] = said("PC505", tmp_path, leases=LEASES, around={"server.jsonl": lines})
        assert "it takes no writes any more: a failover" in found.title

    def test_a_crash_drops_everybody_and_poolctl(self, tmp_path: Path) -> None:
        old = {"pid": 5, "state": "idle", "age_s": 60.0}
        new = {"pid": 9, "state": "idle", "age_s": 0.4}
        lines = [up(1.0, backends=[old]), up(2.0, connects=2, backends=[new])]
        [found] = said("PC505", tmp_path, leases=LEASES, around={"server.jsonl": lines})
        assert "recovered from a crash" in found.title

    def test_poolctl_thrown_out_alone_is_not_a_crash(self, tmp_path: Path) -> None:
        old = {"pid": 5, "state": "idle", "age_s": 60.0}
        lines = [up(1.0, backends=[old]), up(2.0, connects=2, backends=[{**old, "age_s": 61.0}])]
        assert said("PC505", tmp_path, leases=LEASES, around={"server.jsonl": lines}) == []

    def test_a_whole_second_of_uptime_is_no_restart(self, tmp_path: Path) -> None:
        lines = [up(1.0, 100.0), up(2.1, 101.0), up(3.05, 101.0), up(4.2, 103.0)]
        assert said("PC505", tmp_path, leases=LEASES, around={"server.jsonl": lines}) == []

    LOST = tuple(Lease(1.0, 2.0 + n / 100, connection=n, end="invalidated") for n in range(1, 5))

    def test_connections_lost_together_are_told_without_a_look_at_the_server(self, tmp_path: Path) -> None:
        [found] = said("PC505", tmp_path, leases=self.LOST)
        assert found.title == "4 of the 4 connections in use were lost together at second 3.0"
        assert (found.severity, found.confidence) == (Severity.WARNING, "medium")

    def test_while_the_server_went_on_it_was_something_else(self, tmp_path: Path) -> None:
        [found] = said("PC505", tmp_path, leases=self.LOST, around={"server.jsonl": [up(2.0), up(4.0)]})
        assert found.title.endswith("were lost together at second 3.0, while the server went on")
        assert "a proxy or a firewall" in found.advice

    def test_unless_the_proxy_did_it(self, tmp_path: Path) -> None:
        around = {"proxy-log.jsonl": [{"at": 3.0, "what": "stopped", "reason": "got SIGTERM, fast exit"}]}
        assert said("PC505", tmp_path, leases=self.LOST, around=around) == []
        [found] = said("PC506", tmp_path, leases=self.LOST, around=around)
        assert found.title == "PgBouncer was restarted at second 3.0, and 4 connections in use went with it"


def counted(at: float, total: int, **more: Any) -> dict[str, Any]:
    return {"at": at, "pools": [], "stats": {"shop": {"total_query_count": total}}} | more


class TestProxy:
    def test_that_counts_anew_was_restarted(self, tmp_path: Path) -> None:
        lines = [counted(1.0, 100), counted(2.0, 120), counted(3.0, 4), counted(4.0, 9)]
        assert Proxy(view_of(tmp_path, leases=LEASES, around={"proxy.jsonl": lines})).restarts() == [pytest.approx(3.0)]

    def test_that_was_gone_and_counts_anew_was_restarted_once(self, tmp_path: Path) -> None:
        lines = [counted(1.0, 100), {"at": 2.0, "gone": "x"}, counted(3.0, 4)]
        around = {"proxy.jsonl": lines, "proxy-log.jsonl": [{"at": 1.9, "what": "stopped", "reason": "got SIGTERM"}]}
        assert Proxy(view_of(tmp_path, leases=LEASES, around=around)).restarts() == [pytest.approx(1.9)]

    @pytest.mark.parametrize(
        ("reason", "advice"),
        [
            ("query_wait_timeout", "default_pool_size"),
            ("no more connections allowed (max_client_conn)", "max_client_conn above the sum"),
        ],
    )
    def test_that_sends_clients_away_starves_whatever_the_samples_say(
        self, tmp_path: Path, reason: str, advice: str
    ) -> None:
        event = {"at": 2.0, "what": "closed", "side": "C", "database": "shop", "user": "app", "reason": reason}
        around = {"proxy-log.jsonl": [event]}
        [found] = said("PC507", tmp_path / "a", leases=LEASES, around=around, proxy={"max_client_conn": 5})
        assert found.severity is Severity.ERROR
        assert advice in found.advice
        assert said("PC506", tmp_path / "b", leases=LEASES, around=around) == []

    def test_that_cannot_open_more_is_not_told_to_be_larger(self, tmp_path: Path) -> None:
        pool = {"database": "d", "user": "u", "cl_active": 1, "cl_waiting": 3, "sv_active": 1, "sv_login": 0}
        lines = [{"at": at, "pools": [{**pool, "maxwait_s": 0.5, "pool_size": 20}]} for at in range(5)]
        [found] = said("PC507", tmp_path, leases=LEASES, around={"proxy.jsonl": lines})
        assert "1 of 20 connections and cannot open more" in found.advice
        assert "default_pool_size =" not in found.advice

    def test_whose_clients_waited_for_a_moment_is_healthy(self, tmp_path: Path) -> None:
        pool = {"database": "d", "user": "u", "cl_active": 1, "cl_waiting": 1, "sv_active": 1, "sv_login": 0}
        lines = [{"at": at, "pools": [{**pool, "maxwait_s": 0.5, "pool_size": 1}]} for at in range(3)]
        assert said("PC507", tmp_path / "a", leases=LEASES, around={"proxy.jsonl": lines[:2]}) == []
        assert len(said("PC507", tmp_path / "b", leases=LEASES, around={"proxy.jsonl": lines})) == 1

    def test_whose_clients_wait_briefly_is_healthy(self, tmp_path: Path) -> None:
        pool = {"database": "d", "user": "u", "cl_active": 1, "cl_waiting": 1, "sv_active": 1, "sv_login": 0}
        lines = [{"at": at, "pools": [{**pool, "maxwait_s": 0.01, "pool_size": 1}]} for at in range(5)]
        assert said("PC507", tmp_path, leases=LEASES, around={"proxy.jsonl": lines}) == []

    def test_that_lets_fewer_in_than_the_pools_may_ask_for_is_the_budget(self, tmp_path: Path) -> None:
        [found] = said("PC501", tmp_path / "a", leases=LEASES, proxy={"max_client_conn": 10})
        assert found.title == "1 × 15 connections may be asked for, PgBouncer lets 10 in"
        assert said("PC501", tmp_path / "b", leases=LEASES, proxy={"max_client_conn": 100}, server={"in_use": 90}) == []


HOLDER = Lease(0.5, None, end="open", backend_pid=70, connection=1, site="app.py:7 reserves")
WAITER = Lease(1.0, None, end="open", backend_pid=71, connection=2, site="app.py:30 buys")


def queue(at: float, **head: Any) -> dict[str, Any]:
    first = {"pid": 70, "state": "active", "transaction_s": at, "application": "psql", "query": "lock t"} | head
    wait = {"pid": 71, "state": "active", "wait": "Lock:relation", "state_s": at - 1.0, "blocked_by": [first["pid"]]}
    return {"at": at, "active": 2, "backends": [first, wait], "connects": 1}


class TestLocks:
    def test_a_head_that_is_nobody_of_ours_is_named_and_can_be_ended(self, tmp_path: Path) -> None:
        lines = [queue(at, pid=99) for at in (3.0, 4.0)]
        [found] = said("PC508", tmp_path, leases=[WAITER], around={"server.jsonl": lines})
        assert "at the head is backend 99 (psql)" in found.title
        assert "pg_terminate_backend(99)" in found.advice
        assert (found.severity, found.sites) == (Severity.WARNING, ["app.py:30 buys"])

    def test_a_queue_in_a_ring_has_an_end(self, tmp_path: Path) -> None:
        lines = [queue(at, wait="Lock:tuple", blocked_by=[71]) for at in (3.0, 4.0)]
        assert len(said("PC508", tmp_path, leases=[HOLDER, WAITER], around={"server.jsonl": lines})) == 1

    def test_the_report_shows_the_head_first_and_the_open_ones(self, tmp_path: Path) -> None:
        idle = Lease(1.5, None, end="open", backend_pid=72, connection=3, site="app.py:50 forgets")
        last = queue(4.0)
        last["backends"].append({"pid": 72, "state": "idle in transaction", "transaction_s": 2.0, "query": "select ?"})
        view = view_of(tmp_path, leases=[HOLDER, WAITER, idle], around={"server.jsonl": [queue(3.0), last]})
        rows = backends(view)
        assert [(row.backend_pid, row.site, row.blocked_by) for row in rows] == [
            (70, "app.py:7 reserves", []),
            (71, "app.py:30 buys", [70]),
            (72, "app.py:50 forgets", []),
        ]
        assert rows[0].hold_time_s == pytest.approx(9.5)
        assert (rows[2].state, rows[2].query, rows[2].transaction_s) == ("idle in transaction", "select ?", 2.0)

    def test_a_backend_is_the_lease_s_that_held_it_then(self, tmp_path: Path) -> None:
        first = Lease(1.0, 2.0, backend_pid=70, site="app.py:1 first")
        second = Lease(4.0, 2.0, backend_pid=70, site="app.py:2 second")
        seen = Sessions(view_of(tmp_path, leases=[first, second]))
        assert [seen.site_of(70, at) for at in (0.5, 2.0, 3.5, 5.0, 7.0)] == [
            None,
            "app.py:1 first",
            None,
            "app.py:2 second",
            None,
        ]
        assert seen.site_of(71, 2.0) is None


def test_what_cannot_be_seen_is_said(tmp_path: Path) -> None:
    around = {"server.jsonl": [up(1.0, backends=[])]}
    hidden = view_of(tmp_path / "a", leases=LEASES, around=around, server_blind=["the state of other users' sessions"])
    assert server_blind(hidden) == ["the state of other users' sessions"]
    behind = view_of(tmp_path / "b", leases=LEASES, around=around, proxy={"pool_mode": "transaction"})
    assert server_blind(behind) == ["which backend works for which lease: PgBouncer lends them (transaction mode)"]
    assert backends(behind) == []
    unknown = view_of(tmp_path / "c", leases=[Lease(1.0, backend_pid=0)], around=around)
    assert server_blind(unknown) == ["which backend works for which lease: asyncpg does not tell its connection's"]
    assert server_blind(view_of(tmp_path / "d", leases=LEASES)) == []


def test_a_log_can_be_laid_beside_a_run_afterwards(tmp_path: Path) -> None:
    run = write_run(tmp_path, LEASES, duration=10.0)
    moment = datetime.fromtimestamp(WALL / 1e9 + 4, UTC).strftime("%Y-%m-%d %H:%M:%S.000 UTC")
    log = tmp_path / "pgbouncer.log"
    log.write_text(f"{moment} [1] LOG C-0x1: shop/app@unix:1 closing because: client_idle_timeout (age=2s)\n")
    add_log(run, log)
    made = tables(run)
    view = View(made, target_of(made), **looked_around(run.path))
    assert Proxy(view).closed() == [(pytest.approx(4.0), "client_idle_timeout")]


@pytest.mark.parametrize("size", [4, 15])
def test_the_verdict_names_the_proxy_that_starves_whether_or_not_anybody_waits_for_the_pool(
    tmp_path: Path, size: int
) -> None:
    pool = {"database": "d", "user": "u", "cl_active": 2, "cl_waiting": 6, "sv_active": 2, "sv_login": 0}
    lines = [{"at": at, "pools": [{**pool, "maxwait_s": 0.9, "pool_size": 2}]} for at in range(30)]
    leases = through_pool([(n * 0.05, 0.21) for n in range(600)], size)
    told = {"settings": {"pool_size": size, "max_overflow": 0}, "duration": 33.0, "command": "diagnose", "load": None}
    report = analyse(write_run(tmp_path, leases, around={"proxy.jsonl": lines}, proxy={}, **told))
    assert (report.pool.peak_waiting or 0) > 0 or size == 15
    assert report.verdict == "too small"
    assert report.summary.startswith("The proxy's pool is too small, not the application's: ")
    assert "PgBouncer's pool of 2 server connections for d/u starves" in report.summary
    assert report.next_step == "default_pool_size = 8 (today 2)"
    quiet = {"proxy.jsonl": [{**line, "pools": []} for line in lines]}
    assert "proxy" not in analyse(write_run(tmp_path / "quiet", leases, around=quiet, **told)).summary


def test_strangers_of_the_same_user_are_a_note_for_a_command_that_was_watched_whole(tmp_path: Path) -> None:
    ours = {"pid": 9000, "state": "idle", "user": "app", "application": "shop", "age_s": 5.0}
    stranger = {"pid": 1234, "state": "idle", "user": "app", "application": "shop", "age_s": 1.0}
    older, other = {**stranger, "pid": 1235, "age_s": 60.0}, {**stranger, "pid": 1236, "user": "admin"}
    lines = [up(at, backends=[ours, stranger, older, other]) for at in (4.0, 5.0)]
    [found] = said("PC504", tmp_path / "a", leases=LEASES, around={"server.jsonl": lines}, way="launch")
    assert found.severity is Severity.INFO
    assert "backends 1234;" in found.evidence[0]
    assert said("PC504", tmp_path / "b", leases=LEASES, around={"server.jsonl": lines}, way="attach") == []


def test_much_idling_in_transactions_is_a_note(tmp_path: Path) -> None:
    idle = {"pid": 9000, "state": "idle in transaction", "state_s": 0.1, "transaction_s": 0.2}
    busy = {"pid": 9001, "state": "active", "state_s": 0.1, "transaction_s": 0.2}
    lines = [up(at / 2, backends=[idle, *([busy] if at % 4 == 0 else [])]) for at in range(20)]
    [found] = said("PC503", tmp_path, leases=LEASES, around={"server.jsonl": lines})
    assert found.severity is Severity.INFO
    assert found.title == "80.0 % of the sessions in a transaction were idle in it"


@pytest.mark.parametrize("kind", ["console", "markdown", "html"])
def test_every_format_for_people_shows_what_the_server_says_and_what_it_does_not(tmp_path: Path, kind: str) -> None:
    lines = [queue(at, query="select <b> from t") for at in (3.0, 4.0)]
    run = write_run(
        tmp_path, [HOLDER, WAITER], duration=10.0, around={"server.jsonl": lines}, server_blind=["whose they are"]
    )
    shown = render(analyse(run), kind, width=120)
    assert "What the server says" in shown
    assert "71" in shown
    assert "cannot be seen: whose they are" in shown
    assert ("<b>" in shown) == (kind != "html")
