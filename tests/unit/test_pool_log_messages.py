"""Messages and times: what single lines say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from poolctl.target.log_formats import number_of
from poolctl.target.log_lines import lines_with
from poolctl.target.log_messages import What, driver_of, find_message, key_of
from poolctl.target.log_times import NS, Clock

NOW = datetime(2026, 3, 15, tzinfo=UTC)
PSYCOPG = "<psycopg.Connection [IDLE] (host=/tmp/0xab user=u database=d) at 0x7fAe10>"
PSYCOPG2 = "<connection object at 0x7f12; dsn: 'user=a password=xxx dbname=at 0x99', closed: 0>"
ASYNCPG = "<AdaptedConnection <asyncpg.connection.Connection object at 0x7f5b70>>"
OLD_AIOSQLITE = "<AdaptedConnection <Connection(Thread-3, started daemon 1401)>>"


@pytest.mark.parametrize(
    ("shown", "key"),
    [
        (PSYCOPG, 0x7FAE10),
        (PSYCOPG2, 0x7F12),
        (ASYNCPG, 0x7F5B70),
        (OLD_AIOSQLITE, "Thread-3"),
        ("<_mysql.connection open to 'localhost' at 0x55d0>", 0x55D0),
        ("<_mysql.connection closed at 0x55d0>", 0x55D0),
        ("<sqlite3.Connection object at 0x000001F3A>", 0x1F3A),
        ("<oracledb.Connection to scott@db/orcl>", 0),
        ("None", 0),
    ],
)
def test_a_connection_is_known_by_its_address_alone(shown, key):
    assert key_of(shown) == key


@pytest.mark.parametrize("shown", [PSYCOPG, PSYCOPG2, ASYNCPG, OLD_AIOSQLITE])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Created new connection {}", What.CREATED),
        ("Connection {} checked out from pool", What.CHECKED_OUT),
        ("Connection {} being returned to pool", What.RETURNING),
        ("Connection {} is fresh, skipping pre-ping", What.FRESH),
        ("Pool pre-ping on connection {}", What.PING),
        ("Pool pre-ping on connection {} failed, will invalidate pool", What.PING_FAILED),
        ("Connection {} reset, transaction already reset", What.RESET),
        ("Connection {} rollback-on-return", What.RESET),
        ("Connection {} commit-on-return", What.RESET),
        ("Closing connection {}", What.CLOSING),
        ("Hard-closing connection {}", What.HARD_CLOSING),
        ("Invalidate connection {}", What.INVALIDATE),
        ("Invalidate connection {} (reason: OperationalError:dead at 0x1> or so)", What.INVALIDATE),
        ("Soft Invalidate connection {} (reason: X:y)", What.SOFT_INVALIDATE),
        ("Connection {} exceeded timeout; recycling", What.RECYCLE),
        ("Connection {} invalidated due to pool invalidation; recycling", What.RECYCLE),
        ("Connection {} invalidated due to local soft invalidation; recycling", What.RECYCLE),
        (
            "Disconnection detected on checkout, invalidating individual connection {} (reason: X())",
            What.DISCONNECTED_ONE,
        ),
        (
            "The garbage collector is trying to clean up non-checked-in connection {}, which will be dropped.  Please",
            What.COLLECTED,
        ),
        ("Exception closing connection {}", What.OTHER),
        ("Exception terminating connection {}", What.OTHER),
    ],
)
def test_every_message_is_known_with_every_drivers_repr(text, what, shown):
    for line in (text.format(shown), f"2026-03-14 DEBUG sqlalchemy.pool.impl.QueuePool {text.format(shown)}"):
        message = find_message(line)
        assert message is not None
        assert message.what is what
        assert message.key == key_of(shown)
        assert line[message.start : message.start + 4] == text[:4] or what in (What.COLLECTED, What.DISCONNECTED_ONE)


@pytest.mark.parametrize(
    ("text", "what", "detail"),
    [
        ("Pool recreating", What.OTHER, ()),
        ("Pool disposed. Pool size: 5  Connections in pool: 0", What.DISPOSED, ("5",)),
        ("Pool disposed. NullPool", What.DISPOSED, ()),
        ("Reconnection attempts exhausted on checkout", What.EXHAUSTED, ()),
        ("Error on connect(): no", What.CONNECT_FAILED, ()),
        (f"Invalidate connection {ASYNCPG} (reason: asyncpg.X:y)", What.INVALIDATE, ("asyncpg.X",)),
        (
            "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00",
            What.LIMIT,
            ("QueuePool", "5", "10", "30.00"),
        ),
    ],
)
def test_messages_without_a_connection_and_details_are_known(text, what, detail):
    message = find_message(text)
    assert message is not None
    assert (message.what, message.detail) == (what, detail)


@pytest.mark.parametrize(
    "text", ["", "INFO: connection open", "Connection refused", "reconnecting to redis", "connected"]
)
def test_what_no_pool_says_is_nothing(text):
    assert find_message(text) is None


def test_a_driver_is_known_by_the_class_of_its_connections():
    assert driver_of(ASYNCPG) == ("postgresql", "asyncpg")
    assert driver_of(PSYCOPG2) == ("postgresql", "psycopg2")
    assert driver_of("<pymysql.connections.Connection object at 0x1>") == ("mysql", "pymysql")
    assert driver_of("<_mysql.connection open to '127.0.0.1' at 0x1>") == ("mysql", "mysqldb")
    assert driver_of("<something.Else at 0x1>") == ("?", "?")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-14 09:30:00,250 x", 1773480600.25),
        ("2026-03-14T09:30:00.250000Z", 1773480600.25),
        ("2026-03-14T11:30:00.25+02:00", 1773480600.25),
        ("2026-03-14 04:30:00.250 -0500", 1773480600.25),
        ("2026/03/14 09:30:00.250", 1773480600.25),
        ("20260314T093000.250Z", 1773480600.25),
        ("14/Mar/2026:09:30:00 +0000", 1773480600.0),
        ("Mar 14 09:30:00.250 host", 1773480600.25),
        ("1773480600.250 x", 1773480600.25),
        ("1773480600250 x", 1773480600.25),
        ("09:30:00.250 x", 1773567000.25),
        ("2026-12-31 23:59:60,000", 1798761600.0),
    ],
)
def test_every_way_to_write_a_time_is_read(text, seconds):
    clock = Clock(NOW)
    clock.learn([text] * 4)
    read = clock.read(text)
    assert read is not None
    assert read[0] == round(seconds * 1000) * NS // 1000


def test_a_time_that_cannot_be_is_none():
    clock = Clock(NOW)
    clock.learn(["2026-03-14 09:30:00,250"] * 4)
    assert clock.read("2026-13-44 09:30:00,250") is None
    assert clock.read("no time at all") is None


def test_the_time_nearest_to_the_message_is_a_lines_own_unless_it_is_coarse():
    clock = Clock(NOW)
    line = "2026-03-14T09:30:07.123456789Z stderr F 2026-03-14 09:30:00,250 DEBUG x"
    clock.learn([line] * 4)
    assert clock.read(line)[0] == 1773480600_250000000
    coarse = "2026-03-14T09:30:07.123456789Z stderr F 2026-03-14 09:30:00 DEBUG x"
    clock = Clock(NOW)
    clock.learn([coarse] * 4)
    assert clock.read(coarse)[0] == 1773480607_123456789


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1773480600.25, 1773480600.25),
        (1773480600250, 1773480600.25),
        (1773480600250000, 1773480600.25),
        (1773480600250000000, 1773480600.25),
        ("2026-03-14T09:30:00.250Z", 1773480600.25),
        ("1773480600.25", 1773480600.25),
        (None, None),
        (True, None),
        (17, None),
        ("soon", None),
    ],
)
def test_a_json_value_is_a_time_by_its_size_or_its_form(value, seconds):
    found = Clock(NOW).value(value)
    assert found == (None if seconds is None else pytest.approx(seconds * NS, abs=1000))


def test_tasks_threads_and_names_get_numbers_of_their_own():
    numbers = {
        number_of(name) for name in (140_123_456_789_012, "Task-7", "Task-8", "MainThread", "worker", "Thread-7")
    }
    assert len(numbers) == 6
    assert number_of("worker") == number_of("worker")
    assert all(0 < number < 1 << 64 for number in numbers)


def test_only_lines_with_a_clue_are_made_in_their_order_and_once():
    block = b"a\nB1 two\nc\nA1 B1 x\nA1\n\nB1"
    found = [line for _, line in lines_with(block + b"\n", (b"A1", b"B1"))]
    assert found == [b"B1 two", b"A1 B1 x", b"A1", b"B1"]
    assert [block[start : start + len(line)] for start, line in lines_with(block + b"\n", (b"A1", b"B1"))] == found
