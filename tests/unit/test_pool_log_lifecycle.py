"""Life cycle: what the lines of a pool mean, trap by trap (FIELD.md section 6)."""

from __future__ import annotations

import json

import pytest
from pool_lines import ASYNC, Told, asctime, async_connection, full

from poolctl.trace.events import Kind
from poolctl.trace.names import read_names

A, B = 0x7F01, 0x7F02


@pytest.fixture
def log():
    return Told()


@pytest.fixture
def async_log():
    return Told(show=async_connection, common={"logger": f"sqlalchemy.pool.impl.{ASYNC}"})


def test_what_the_log_cannot_tell_is_unknown_and_never_zero(tmp_path, log):
    log.created(0, A)
    log.used(1, 2, A)
    lease = log.read(tmp_path).leases.iloc[0]
    for unknown in ("acquire_time_s", "wait_time_s", "connect_time_s", "sql_time_s", "idle_in_hold_s", "reset_time_s",
                    "checkin_time_s"):  # fmt: skip
        assert lease[unknown] != lease[unknown], unknown
    assert lease["waiting_at_request"] == lease["statements"] == lease["transactions"] == -1
    assert lease["hold_time_s"] == pytest.approx(2.0)
    assert lease["fresh"]


def test_an_address_that_is_used_again_is_another_connection(tmp_path, log):
    for turn in range(3):
        log.created(turn * 10, A)
        log.used(turn * 10 + 1, 2, A)
        log.closing(turn * 10 + 3, A)
    found = log.read(tmp_path)
    assert found.ends == ["returned"] * 3
    assert found.leases["connection"].tolist() == [1, 2, 3]
    assert found.tables.connections["event"].tolist() == ["opened", "closed"] * 3


def test_a_connection_that_vanished_without_a_word_does_not_hold_for_ever(tmp_path, log):
    log.created(0, A)
    log.checked_out(1, A)
    log.created(5, A)
    log.used(6, 1, A)
    found = log.read(tmp_path)
    assert found.ends == ["detached", "returned"]


def test_an_invalidated_lease_logs_no_return_and_is_no_leak(tmp_path, log):
    log.checked_out(1, A)
    log.invalidate(4, A, "OperationalError:(psycopg) connection to db.internal lost")
    found = log.read(tmp_path)
    assert found.ends == ["invalidated"]
    assert found.holds_ms == [3000]


def test_a_cancelled_holder_is_told_from_the_reason_of_its_invalidation(tmp_path, async_log):
    async_log.checked_out(1, A)
    async_log.invalidate(4, A, "CancelledError:")
    assert async_log.read(tmp_path).ends == ["cancelled"]


def test_a_detached_lease_logs_no_return_and_ends_where_its_connection_is_closed(tmp_path, log):
    log.checked_out(1, A)
    log.reset(6, A)
    log.closing(6.1, A)
    found = log.read(tmp_path)
    assert found.ends == ["detached"]
    assert found.holds_ms == [5000]


def test_a_detached_connection_that_nobody_closes_is_detached_all_the_same(tmp_path, async_log):
    async_log.checked_out(1, A)
    async_log.reset(6, A)
    async_log.used(8, 1, B)
    found = async_log.read(tmp_path)
    assert found.ends == ["detached", "returned"]
    assert found.holds_ms == [5000, 1000]


def test_a_return_whose_line_is_missing_is_known_from_its_reset(tmp_path, log):
    log.checked_out(1, A)
    log.reset(4, A)
    log.used(8, 1, A)
    found = log.read(tmp_path)
    assert found.ends == ["returned", "returned"]
    assert found.holds_ms == [3000, 1000]


def test_a_detached_lease_without_a_reset_ends_where_its_connection_is_closed(tmp_path, log):
    log.used(0, 1, A)
    log.checked_out(2, A)
    log.closing(6, A)
    found = log.read(tmp_path)
    assert found.ends == ["returned", "detached"]
    assert found.holds_ms == [1000, 4000]


COLLECTED = (
    "The garbage collector is trying to clean up non-checked-in connection {}, which will be {}.  "
    "Please ensure that SQLAlchemy pooled connections are returned to the pool explicitly"
)


@pytest.mark.parametrize("fate", ["terminated", "dropped, as it cannot be safely terminated"])
def test_an_abandoned_async_lease_logs_a_return_and_is_abandoned_all_the_same(tmp_path, async_log, fate):
    async_log.checked_out(1, A)
    async_log.returning(4, A)
    if fate == "terminated":
        async_log.closing(4, A, hard=True)
    async_log.say(4, COLLECTED.format(async_connection(A), fate), level="ERROR")
    async_log.say(4, f"…/base.py:1100: SAWarning: {COLLECTED.format(async_connection(A), fate)}", logger="py.warnings")
    found = async_log.read(tmp_path)
    assert found.ends == ["abandoned"]
    assert found.holds_ms == [3000]


def test_the_collectors_warning_says_nothing_that_its_line_did_not(tmp_path, async_log):
    def nameless(line):
        return f"{line.date:%Y-%m-%d %H:%M:%S},000 {line.text}"

    async_log.checked_out(1, A)
    async_log.returning(4, A)
    async_log.say(4, COLLECTED.format(async_connection(A), "dropped"))
    async_log.say(5, f"…/base.py:1100: SAWarning: {COLLECTED.format(async_connection(A), 'dropped')}")
    assert async_log.read(tmp_path, nameless).ends == ["abandoned"]


def test_an_abandoned_lease_takes_nobody_along_who_had_its_address_before(tmp_path, async_log):
    async_log.created(0, A)
    async_log.used(1, 1, A)
    async_log.closing(2, A)
    async_log.created(3, A)
    async_log.checked_out(3, A)
    async_log.returning(5, A)
    async_log.closing(5, A, hard=True)
    async_log.say(5, COLLECTED.format(async_connection(A), "terminated"), level="ERROR")
    assert async_log.read(tmp_path).ends == ["returned", "abandoned"]


def test_an_overflow_connection_is_closed_after_its_return_and_that_is_a_return(tmp_path, async_log):
    async_log.created(0, A)
    async_log.used(1, 2, A)
    async_log.closing(3, A)
    assert async_log.read(tmp_path).ends == ["returned"]


def test_after_a_failed_ping_the_new_connection_returns_without_a_checkout(tmp_path, log):
    log.used(0, 1, A)
    log.checked_out(2, A)
    log.say(2.1, f"Pool pre-ping on connection {log.show(A)}")
    log.say(2.5, f"Pool pre-ping on connection {log.show(A)} failed, will invalidate pool")
    log.say(2.5, "Disconnection detected on checkout, invalidating all pooled connections prior to current timestamp "
                 "(reason: InvalidatePoolError())", level="INFO")  # fmt: skip
    log.invalidate(2.5, A, "InvalidatePoolError:")
    log.created(3, B)
    log.returned(5, B)
    found = log.read(tmp_path)
    assert found.ends == ["returned", "returned"]
    assert found.holds_ms == [1000, 2000]
    second = found.leases.iloc[1]
    assert second["connect_time_s"] == pytest.approx(0.5)
    assert second["requested_at_s"] == pytest.approx(2.0)
    assert second["ping_time_s"] != second["ping_time_s"]


def test_two_reconnects_at_once_are_told_apart_by_their_tasks(tmp_path, async_log):
    for n, address in enumerate((A, B)):
        task = f"Task-{n}"
        async_log.checked_out(1, address, task=task)
        async_log.say(
            1, f"Pool pre-ping on connection {async_connection(address)} failed, will invalidate pool", task=task
        )
        async_log.invalidate(1, address, "InvalidatePoolError:", task=task)
    async_log.created(2, 0x7F12, task="Task-1")
    async_log.created(3, 0x7F11, task="Task-0")
    async_log.returned(4, 0x7F12, task="Task-1")
    async_log.returned(6, 0x7F11, task="Task-0")
    found = async_log.read(tmp_path)
    assert found.holds_ms == [3000, 2000]
    assert found.leases["connect_time_s"].tolist() == pytest.approx([2.0, 1.0])


def test_a_reconnect_that_fails_ends_the_request(tmp_path, log):
    log.checked_out(1, A)
    log.say(1, f"Pool pre-ping on connection {log.show(A)} failed, will invalidate pool")
    log.invalidate(1, A, "InvalidatePoolError:")
    log.say(2, 'Error on connect(): connection to server at "10.0.0.7", port 5432 failed: password for alice')
    found = log.read(tmp_path)
    assert found.ends == ["failed"]
    assert found.tables.connections["event"].tolist() == ["failed", "closed"] or found.tables.connections[
        "event"
    ].tolist() == ["closed", "failed"]


def test_a_connection_that_a_listener_found_dead_is_replaced_for_the_same_lease(tmp_path, log):
    log.checked_out(1, A)
    log.say(1, "Disconnection detected on checkout, invalidating all pooled connections prior to current timestamp "
               "(reason: DisconnectionError())", level="INFO")  # fmt: skip
    log.invalidate(1, A, "DisconnectionError:")
    log.created(2, B)
    log.returned(5, B)
    found = log.read(tmp_path)
    assert found.ends == ["returned"]
    assert found.holds_ms == [3000]


def test_attempts_that_are_exhausted_fail_the_request(tmp_path, log):
    log.checked_out(1, A)
    log.say(1, "Reconnection attempts exhausted on checkout", level="INFO")
    log.invalidate(1, A)
    assert log.read(tmp_path).ends == ["failed"]


def test_a_failed_connect_fails_its_request(tmp_path, log):
    log.used(0, 1, A)
    log.say(2, "Error on connect(): no")
    assert log.read(tmp_path).ends == ["returned", "failed"]


def test_a_connection_closed_before_its_checkout_failed_its_request(tmp_path, log):
    log.created(1, A)
    log.closing(2, A, hard=True)
    log.used(3, 1, B)
    assert log.read(tmp_path).ends == ["failed", "returned"]


@pytest.mark.parametrize(
    "why", ["exceeded timeout", "invalidated due to pool invalidation", "invalidated due to local soft invalidation"]
)
def test_a_recycled_connection_is_opened_anew_and_its_connect_is_measured(tmp_path, log, why):
    log.used(0, 1, A)
    log.say(10, f"Connection {log.show(A)} {why}; recycling", level="INFO")
    log.closing(10, A, hard=True)
    log.created(10.25, A)
    log.used(10.5, 1, A)
    found = log.read(tmp_path)
    assert found.ends == ["returned", "returned"]
    second = found.leases.iloc[1]
    assert second["connect_time_s"] == pytest.approx(0.25)
    assert second["fresh"]
    assert second["requested_at_s"] == pytest.approx(10.0)


def test_a_connection_that_is_too_old_at_once_is_opened_twice_for_one_request(tmp_path, log):
    log.created(1, A)
    log.say(1, f"Connection {log.show(A)} exceeded timeout; recycling", level="INFO")
    log.closing(1, A, hard=True)
    log.created(2, A)
    log.used(2, 1, A)
    assert log.read(tmp_path).ends == ["returned"]


def test_a_reset_that_fails_invalidates_the_lease(tmp_path, log):
    log.checked_out(0, A)
    log.returned(2, A)
    log.say(2.5, "Exception during reset or similar", level="ERROR")
    log.invalidate(2.5, A, "OperationalError:gone")
    assert log.read(tmp_path).ends == ["invalidated"]


def test_a_soft_invalidation_ends_nothing(tmp_path, log):
    log.checked_out(0, A)
    log.say(1, f"Soft Invalidate connection {log.show(A)} (reason: OperationalError:x)", level="INFO")
    log.returned(2, A)
    found = log.read(tmp_path)
    assert found.ends == ["returned"]
    assert found.holds_ms == [2000]


def test_a_return_without_a_checkout_began_before_the_log(tmp_path, log):
    log.returned(1, A)
    log.used(2, 1, B)
    found = log.read(tmp_path)
    assert found.summary.orphans == 1
    assert found.ends == ["returned", "returned"]
    assert found.holds_ms == [1000, None]
    assert any("1 leases began before this log did" in line for line in found.summary.blind)


def test_an_abandoned_lease_from_before_the_log_is_counted_once(tmp_path, async_log):
    async_log.used(0, 1, B)
    async_log.say(4, COLLECTED.format(async_connection(A), "terminated"), level="ERROR")
    found = async_log.read(tmp_path)
    assert sorted(found.ends) == ["abandoned", "returned"]


def test_debug_switched_off_meanwhile_loses_returns_and_makes_no_leak(tmp_path, log):
    log.checked_out(0, A)
    log.used(100, 1, A)
    found = log.read(tmp_path)
    assert found.ends == ["returned", "returned"]
    assert found.holds_ms == [None, 1000]
    assert found.summary.unclear == 1


def test_a_connection_found_idle_was_returned_though_nobody_said_so(tmp_path, log):
    log.checked_out(0, A)
    log.say(50, f"Connection {log.show(A)} exceeded timeout; recycling", level="INFO")
    log.closing(50, A, hard=True)
    log.created(51, A)
    log.used(52, 1, A)
    found = log.read(tmp_path)
    assert found.ends == ["returned", "returned"]
    assert found.holds_ms == [None, 1000]


def test_a_lease_without_its_end_is_open(tmp_path, log):
    log.used(0, 1, A)
    log.checked_out(2, A)
    found = log.read(tmp_path)
    assert found.ends == ["returned", "open"]
    assert found.leases["statements"].tolist() == [-1, -1]


def test_a_repr_that_changes_with_the_transaction_is_the_same_connection(tmp_path, log):
    log.show = lambda address: f"<psycopg.Connection [IDLE] (user=a database=b) at {address:#x}>"
    log.checked_out(0, A)
    log.show = lambda address: f"<psycopg.Connection [INTRANS] (user=a database=b) at {address:#x}>"
    log.returned(3, A)
    found = log.read(tmp_path)
    assert found.ends == ["returned"]


def test_a_driver_whose_connections_are_threads_is_followed_by_their_names(tmp_path, log):
    log.show = lambda n: f"<AdaptedConnection <Connection(Thread-{n}, started 140{n})>>"
    log.created(0, 3)
    log.used(1, 2, 3)
    log.show = lambda n: f"<AdaptedConnection <Connection(Thread-{n}, stopped 140{n})>>"
    log.closing(5, 3)
    found = log.read(tmp_path)
    assert found.holds_ms == [2000]
    assert found.summary.pools[0].driver == "aiosqlite"


def test_what_two_handlers_write_counts_once(tmp_path, log):
    log.created(0, A)
    log.used(1, 2, A)
    log.closing(3, A)
    log.created(4, A)
    log.checked_out(4.5, A)
    log.say(9, "Error on connect(): x")
    path = tmp_path / "both.log"
    path.write_text("".join(f"{full(line)}\n{asctime(line)}\n" for line in log.lines))
    from pool_lines import read

    found = read(path, tmp_path)
    assert found.summary.ends == {"returned": 1, "open": 1, "failed": 1}
    assert found.summary.duplicates == len(log.lines)


def test_overlapping_leases_of_a_static_pool_are_each_counted(tmp_path):
    log = Told(common={"logger": "sqlalchemy.pool.impl.StaticPool"})
    log.created(0, A)
    log.checked_out(1, A)
    log.checked_out(2, A)
    log.returned(4, A)
    log.returned(6, A)
    found = log.read(tmp_path)
    assert found.ends == ["returned", "returned"]
    assert found.holds_ms == [3000, 4000]
    assert any("StaticPool" in line for line in found.summary.blind)


def test_pools_with_a_logging_name_are_told_apart(tmp_path, log):
    for n, name in enumerate(("orders", "reports")):
        log.used(n, 5, A + n, logger=f"sqlalchemy.pool.impl.QueuePool.{name}")
    log.lines.sort(key=lambda line: line.at)
    found = log.read(tmp_path)
    assert found.leases["pool"].nunique() == 2
    assert [pool.name for pool in found.summary.pools] == ["orders", "reports"]
    assert not any("pool_logging_name" in line for line in found.summary.blind)
    assert len({pool.engine for pool in found.tables.pools}) == 2


def test_the_pools_size_is_read_where_a_line_quotes_it(tmp_path, log):
    log.used(0, 1, A)
    log.say(2, "Pool disposed. Pool size: 7  Connections in pool: 0 Current Overflow: -7 Current Checked out "
               "connections: 0", level="INFO")  # fmt: skip
    found = log.read(tmp_path)
    assert found.tables.pools[0].settings.pool_size == 7
    assert found.tables.pools[0].settings.max_overflow is None


TRACEBACK = """Traceback (most recent call last):
  File "/app/views.py", line 12, in order
    return session.get(Order, 1)
sqlalchemy.exc.TimeoutError: QueuePool limit of size 2 overflow 3 reached, connection timed out, timeout 5.00
"""


def test_a_timeout_that_the_application_logged_is_a_refusal_and_tells_the_settings(tmp_path, log):
    log.checked_out(1, A)
    log.say(8, "Exception in ASGI application\n" + TRACEBACK + "\nDuring handling of the above …\n\n" + TRACEBACK,
            logger="uvicorn.error", level="ERROR")  # fmt: skip
    log.returned(9, A)
    found = log.read(tmp_path)
    assert sorted(found.ends) == ["returned", "timed_out"]
    refused = found.leases[found.leases["end"] == "timed_out"].iloc[0]
    assert refused["ended_at_s"] == pytest.approx(7.0)
    assert refused["wait_time_s"] != refused["wait_time_s"]
    settings = found.tables.pools[0].settings
    assert (settings.pool_size, settings.max_overflow, settings.pool_timeout_s) == (2, 3, 5.0)
    assert any("1 requests are known to have timed out" in line for line in found.summary.blind)


def test_pre_ping_is_known_to_be_on_from_its_lines(tmp_path, log):
    log.created(0, A)
    log.checked_out(0, A)
    log.say(0, f"Connection {log.show(A)} is fresh, skipping pre-ping")
    log.returned(1, A)
    assert log.read(tmp_path).tables.pools[0].settings.pre_ping is True


def test_connections_out_at_the_request_are_counted(tmp_path, log):
    for n in range(4):
        log.created(n, A + n)
        log.checked_out(n + 0.5, A + n)
    for n in range(4):
        log.returned(10 + n, A + n)
    log.used(20, 1, A)
    assert log.read(tmp_path).leases["checked_out_at_request"].tolist() == [0, 1, 2, 3, 0]


def test_nothing_of_a_connections_repr_or_an_exceptions_text_comes_into_the_run(tmp_path, log):
    log.created(0, A)
    log.used(1, 1, A)
    log.checked_out(3, A)
    log.invalidate(4, A, 'OperationalError:connection to "db.internal" as alice failed: secret hunter2')
    log.say(5, "Error on connect(): password authentication failed for user alice at db.internal, hunter2")
    found = log.read(tmp_path)
    written = b"".join(path.read_bytes() for path in found.run.path.iterdir())
    for secret in (b"db.internal", b"alice", b"orders", b"hunter2"):
        assert secret not in written
    assert "alice" not in repr(found.summary)


def test_the_run_is_laid_out_as_capture_lays_it_out(tmp_path, log):
    log.created(0, A)
    log.used(1, 2, A)
    found = log.read(tmp_path)
    assert found.run.event_files()[0].name == "events-4711.bin"
    names = read_names(found.run.names_file(found.run.event_files()[0]))
    assert names["process"][0]["pid"] == 4711
    assert names["pool"][1]["class"] == "QueuePool"
    assert names["capture"][0]["blind"] == found.summary.blind == found.tables.capture.blind
    meta = json.loads((found.run.path / "run.json").read_text())
    assert meta["command"] == "diagnose"
    assert meta["target"]["driver"] == "psycopg"
    assert found.tables.capture.dropped == 0
    assert Kind.REQUEST in Kind
