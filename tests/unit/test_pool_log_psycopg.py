"""psycopg_pool's log: requests, gifts and returns of threads and tasks, and what it leaves unsaid."""

from __future__ import annotations

import pytest
from pool_lines import Told, asctime, full


class Psycopg(Told):
    def __init__(self) -> None:
        super().__init__(common={"logger": "psycopg.pool", "level": "INFO"})

    def asked(self, at: float, pool: str = "pool-1", **more: object) -> None:
        self.say(at, f"connection requested from '{pool}'", **more)

    def given(self, at: float, pool: str = "pool-1", **more: object) -> None:
        self.say(at, f"connection given by '{pool}'", **more)

    def back(self, at: float, pool: str = "pool-1", **more: object) -> None:
        self.say(at, f"returning connection to '{pool}'", **more)


@pytest.fixture
def log():
    return Psycopg()


def waits_ms(found) -> list[int | None]:
    return [None if wait != wait else round(wait * 1000) for wait in found.leases["wait_time_s"]]


def test_each_threads_wait_and_hold_are_its_own(tmp_path, log):
    log.asked(0, thread=2**40 + 1)
    log.asked(1, thread=2**40 + 2)
    log.given(2, thread=2**40 + 2)
    log.given(3, thread=2**40 + 1)
    log.back(10, thread=2**40 + 1)
    log.back(20, thread=2**40 + 2)
    found = log.read(tmp_path)
    assert waits_ms(found) == [3000, 1000]
    assert found.holds_ms == [7000, 18000]
    assert found.leases["acquire_time_s"].tolist() == [3.0, 1.0]
    assert found.summary.pools[0].driver == "psycopg"


def test_the_last_taken_is_the_first_returned(tmp_path, log):
    for at in (0, 2):
        log.asked(at)
        log.given(at + 1)
    log.back(5)
    log.back(10)
    assert log.read(tmp_path).holds_ms == [9000, 2000]


def test_pools_are_told_apart_by_their_names(tmp_path, log):
    for at, pool in ((0, "orders"), (1, "reports")):
        log.asked(at, pool)
        log.given(at, pool)
    log.back(5, "orders")
    log.back(10, "reports")
    found = log.read(tmp_path)
    assert found.holds_ms == [5000, 9000]
    assert [pool.name for pool in found.summary.pools] == ["orders", "reports"]


def test_without_a_thread_first_come_is_first_served_and_the_mean_hold_is_right(tmp_path, log):
    for n in range(3):
        log.asked(n)
    for n in range(3):
        log.given(3 + n)
    for n in range(3):
        log.back(10 + n)
    found = log.read(tmp_path, asctime)
    assert waits_ms(found) == [3000, 3000, 3000]
    assert sum(hold for hold in found.holds_ms if hold) / 3 == 7000
    assert any("only the mean hold is right" in line for line in found.summary.blind)


def test_tasks_that_share_a_thread_are_noticed_and_paired_by_order(tmp_path, log):
    log.asked(0)
    log.asked(1)
    log.given(2)
    log.given(3)
    log.back(4)
    log.back(5)
    found = log.read(tmp_path)
    assert waits_ms(found) == [2000, 2000]
    assert found.holds_ms == [2000, 2000]
    for at in (6, 7):  # one task after the other, not one thread's two: the first is back first
        log.asked(at)
        log.given(at)
    log.back(8)
    log.back(9)
    assert log.read(tmp_path).holds_ms == [2000] * 4


def test_tasks_that_are_named_are_each_their_own(tmp_path, log):
    log.asked(0, task="Task-1")
    log.asked(1, task="Task-2")
    log.given(2, task="Task-2")
    log.given(3, task="Task-1")
    log.back(4, task="Task-1")
    log.back(9, task="Task-2")
    found = log.read(tmp_path, full)
    assert found.holds_ms == [1000, 7000]


def test_a_request_that_timed_out_is_known_where_the_application_logged_it(tmp_path, log):
    log.asked(0)
    log.given(0)
    log.asked(1)
    log.say(
        3,
        "request failed\nTraceback …\npsycopg_pool.PoolTimeout: couldn't get a connection after 2.00 sec",
        logger="app",
    )
    log.back(5)
    found = log.read(tmp_path)
    assert sorted(found.ends) == ["returned", "timed_out"]
    assert found.holds_ms == [5000, None]
    assert found.tables.pools[0].settings.pool_timeout_s == 2.0


def test_a_task_that_asks_again_did_not_get_its_first_connection(tmp_path, log):
    log.asked(0, task="Task-1")
    log.asked(5, task="Task-1")
    log.given(6, task="Task-1")
    log.back(7, task="Task-1")
    assert log.read(tmp_path).ends == ["failed", "returned"]


def test_what_is_still_held_or_asked_for_is_open_and_what_began_before_is_counted(tmp_path, log):
    log.back(0)
    log.asked(1)
    log.given(2)
    log.asked(3, thread=2**41)
    found = log.read(tmp_path)
    assert found.ends == ["open", "open", "returned"]
    assert found.summary.orphans == 1


def test_both_kinds_of_pool_in_one_log_are_read(tmp_path, log):
    log.asked(0)
    log.given(1)
    log.used(2, 1, 0x10, logger="sqlalchemy.pool.impl.QueuePool")
    log.back(5)
    found = log.read(tmp_path)
    assert found.ends == ["returned", "returned"]
    assert sorted(pool.pool_class for pool in found.summary.pools) == ["QueuePool", "psycopg_pool"]
