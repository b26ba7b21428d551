"""PgBouncer's log, line by line: what is an event, when it was, and what is left out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from poolctl.clock import NS, Anchor
from poolctl.errors import InputError, UsageError
from poolctl.target.pgbouncer import PgBouncer
from poolctl.target.pgbouncer_log import PgBouncerLog, parse

BEGAN = datetime(2026, 11, 21, 6, 2, 26, tzinfo=UTC)
ANCHOR = Anchor(1_000 * NS, int(BEGAN.timestamp()) * NS)
UNTIL = ANCHOR.monotonic_ns + 60 * NS
CLIENT = "LOG C-0x560123c77bd0: shop/app@127.0.0.1:57942"


def line(second: float, rest: str, zone: str = "UTC") -> str:
    return f"2026-11-21 06:02:{26 + second:06.3f} {zone} [24953] {rest}"


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
    os.environ.pop("TZ", None)


def events(*lines: str) -> list[dict[str, object]]:
    return parse(list(lines), ANCHOR, UNTIL).events


def test_a_closed_client_has_its_reason_its_age_and_its_instant() -> None:
    [event] = events(line(2.225, f"{CLIENT} closing because: query_wait_timeout (age=2s)"))
    assert event == {
        "at_ns": ANCHOR.monotonic_ns + 2_225_000_000,
        "what": "closed",
        "reason": "query_wait_timeout",
        "side": "C",
        "database": "shop",
        "user": "app",
        "age_s": 2,
    }


@pytest.mark.parametrize(
    ("text", "what", "reason"),
    [
        (f"{CLIENT} closing because: client close request (age=0s)", "closed", "client close request"),
        (f"{CLIENT} closing because: server conn crashed? (age=1)", "closed", "server conn crashed?"),
        (f"{CLIENT.replace('LOG', 'WARNING')} pooler error: client_idle_timeout", "refused", "client_idle_timeout"),
        (
            "LOG S-0x1: shop/app@unix:5432 closing because: server lifetime over (age=3600s)",
            "closed",
            "server lifetime over",
        ),
        (
            (
                "LOG C-0x1: (nodb)/(nouser)@127.0.0.1:4 closing because: no more connections allowed (max_client_conn) "
                "(age=0s)"
            ),
            "closed",
            "no more connections allowed (max_client_conn)",
        ),
        ("LOG process up: PgBouncer 1.18.0, libevent 2.1.12-stable (epoll)", "started", "1.18.0,"),
        ("LOG got SIGTERM, fast exit", "stopped", "got SIGTERM, fast exit"),
        ("LOG got SIGINT, shutting down, waiting for all clients disconnect", "stopped", "got SIGINT, shutting down"),
    ],
)
def test_what_matters_is_an_event(text: str, what: str, reason: str) -> None:
    [event] = events(line(1, text))
    assert event["what"] == what
    assert str(event["reason"]).startswith(reason)


def test_logins_statistics_and_other_programs_lines_are_not() -> None:
    found = parse(
        [
            line(1, f"{CLIENT} login attempt: db=shop user=app tls=no"),
            line(2, "LOG stats: 13 xacts/s, 17 queries/s, in 3 B/s, out 4 B/s, xact 5 us, query 6 us, wait 7 us"),
            "Nov 21 06:02:28 host pgbouncer[12]: C-0x1: shop/app@unix:1 closing because: client close request (age=0s)",
            "",
        ],
        ANCHOR,
        UNTIL,
    )
    assert (found.events, found.lines, found.strange) == ([], 2, 1)


def test_only_the_window_counts() -> None:
    said = f"{CLIENT} closing because: client_idle_timeout (age=2s)"
    lines = [line(-1, said), line(0, said), line(30, said)]
    until = ANCHOR.monotonic_ns + 20 * NS
    assert [event["at_ns"] for event in parse(lines, ANCHOR, until).events] == [ANCHOR.monotonic_ns]


@pytest.mark.usefixtures("in_tokyo")
def test_a_zone_of_another_name_is_this_machine_s() -> None:
    local = "2026-11-21 15:02:28.000 JST [1] LOG got SIGTERM, fast exit"
    [event] = events(local)
    assert event["at_ns"] == ANCHOR.monotonic_ns + 2 * NS


def test_a_log_is_read_from_where_it_ended_and_from_its_start_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "pgbouncer.log"
    path.write_text(line(1, "LOG got SIGTERM, fast exit") + "\n")
    log = PgBouncerLog(path)
    log.begin()
    with path.open("a") as file:
        file.write(line(2, f"{CLIENT} closing because: client_idle_timeout (age=2s)") + "\n")
    assert [event["what"] for event in log.read(ANCHOR, UNTIL).events] == ["closed"]
    path.write_text(line(3, "LOG process up: PgBouncer 1.18.0") + "\n")
    assert [event["what"] for event in log.read(ANCHOR, UNTIL).events] == ["started"]


def test_a_log_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        PgBouncerLog(tmp_path / "none").begin()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u@h/pgbouncer", "is not a PgBouncer"),
        ("postgresql://u:geheim@h:6432/shop", "names the database 'shop'"),
        ("nonsense", "cannot read"),
    ],
)
def test_a_url_that_is_no_console_is_refused_without_its_password(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        PgBouncer(url)
    assert "geheim" not in refused.value.message
