from __future__ import annotations

import asyncio
import itertools
import struct
import sys
import time

import pytest
import sqlalchemy as sa
from captured import capture, parse
from sqlalchemy import event

from poolctl.capture.core import IDLE_WORTH_NS
from poolctl.trace.compact import expand
from poolctl.trace.events import RECORD_BYTES, Flag, Kind
from poolctl.trace.ring import ACQUIRED, NO_STATEMENT, RESET_WORTH_NS, RETURNED

PACK_ACQUIRED = struct.Struct("<qQBBHIQQIHHIIQ").pack_into
PACK_RETURNED = struct.Struct("<qQBBHI8IQ").pack_into
SELECT = sa.text("select 1")


def acquired(requested_at, *, lease=7, flags=0, took=30, waiting=2, held=3, opened=5, context=6):
    raw = bytearray(RECORD_BYTES)
    PACK_ACQUIRED(
        raw, 0, requested_at, lease, ACQUIRED, flags, 4, 9, 2**63 + 1, 11 | 12 << 32, took, waiting, held, opened,
        context, 99,
    )  # fmt: skip
    return bytes(raw)


def returned(at, *, statement=(900, 100, 5), control=(700, 50), back=(600, 0), other=0, lease=7):
    raw = bytearray(RECORD_BYTES)
    PACK_RETURNED(
        raw, 0, at, lease, RETURNED, int(Flag.CANCELLED), 4, 9, *statement[:2], *control, *back, statement[2], other, 99
    )
    return bytes(raw)


def test_a_request_that_was_answered_at_once_is_two_records():
    request, checkout = parse(expand(acquired(1000, flags=int(Flag.OVERFLOW)), 20))
    assert (request.sequence, request.at, request.lease, request.kind) == (20, 1000, 7, Kind.REQUEST)
    assert (request.flags, request.pool, request.site, request.task) == (Flag.NONE, 4, 9, 2**63 + 1)
    assert (request.intended_at, request.context, request.item) == (0, 6, 0)
    assert (request.waiting, request.checked_out, request.open) == (2, 3, 5)
    assert (checkout.sequence, checkout.at, checkout.lease, checkout.kind) == (21, 1030, 7, Kind.CHECKOUT)
    assert (checkout.flags, checkout.pool, checkout.site) == (Flag.OVERFLOW, 4, 9)
    assert (checkout.wait, checkout.connect, checkout.ping) == (0, 0, 0)
    assert (checkout.connection, checkout.backend_pid) == (11, 12)


def test_a_return_is_its_statement_its_rollback_its_reset_and_the_checkin():
    raw = returned(10**9, back=(60_000, RESET_WORTH_NS), other=8)
    statement, rollback, reset, checkin = parse(expand(raw, 1))
    assert (statement.kind, statement.started_at, statement.at) == (Kind.STATEMENT, 10**9 - 900, 10**9 - 800)
    assert (statement.statement, statement.flags, statement.lease, statement.site) == (5, Flag.NONE, 7, 9)
    assert (rollback.kind, rollback.started_at, rollback.at) == (Kind.STATEMENT, 10**9 - 700, 10**9 - 650)
    assert (rollback.statement, rollback.flags, rollback.pool) == (0, Flag.SKIPPED, 4)
    assert (reset.kind, reset.started_at, reset.at) == (Kind.RESET, 10**9 - 60_000, 10**9 - 40_000)
    assert (checkin.kind, checkin.at, checkin.flags) == (Kind.CHECKIN, 10**9, Flag.CANCELLED)
    assert (checkin.sql, checkin.reset, checkin.checkin) == (158, RESET_WORTH_NS, 60_000)
    assert (checkin.statements, checkin.transactions) == (1, 1)


NOTHING, STATEMENT, ROLLBACK = (900, 0, NO_STATEMENT), (900, 100, 0), (700, 50)


@pytest.mark.parametrize(
    ("statement", "control", "reset", "kinds", "statements", "transactions"),
    [
        (NOTHING, (900, 0), 0, "C", 0, 0),
        (NOTHING, ROLLBACK, 0, "SC", 0, 0),
        (NOTHING, (900, 0), 40_000, "RC", 0, 0),
        (STATEMENT, (900, 0), 0, "SC", 1, 0),
        (STATEMENT, (900, 0), 10, "SC", 1, 1),
        (STATEMENT, (950, 20), 0, "SSC", 1, 0),
        (STATEMENT, ROLLBACK, 40_000, "SSRC", 1, 1),
    ],
    ids=["nothing", "only rollback", "only reset", "autocommit", "reset", "rollback before", "everything"],
)
def test_what_did_not_happen_gets_no_record_and_is_not_counted(
    statement, control, reset, kinds, statements, transactions
):
    events = parse(expand(returned(10**9, statement=statement, control=control, back=(60_000, reset)), 1))
    letters = {Kind.STATEMENT: "S", Kind.RESET: "R", Kind.CHECKIN: "C"}
    assert "".join(letters[event.kind] for event in events) == kinds
    assert (events[-1].statements, events[-1].transactions) == (statements, transactions)


def test_records_of_all_kinds_keep_their_order_and_are_numbered_anew():
    plain = bytearray(RECORD_BYTES)
    plain[16] = int(Kind.CLOSE)
    raw = b"".join([acquired(1), bytes(plain), returned(5000), acquired(6000, lease=8), bytes(plain)])
    events = parse(expand(raw, 3))
    assert [event.kind.name[:4] for event in events] == [
        "REQU", "CHEC", "CLOS", "STAT", "STAT", "CHEC", "REQU", "CHEC", "CLOS"
    ]  # fmt: skip
    assert [event.sequence for event in events] == list(range(3, 12))
    assert expand(b"", 3) == b""


@pytest.fixture
def engine(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    yield engine
    engine.dispose()


def test_a_lease_of_more_than_four_seconds_is_told_in_full(tmp_path, engine):
    with engine.connect():
        pass
    listening = []

    def requested_earlier(*_):
        if listening:
            frame = sys._getframe()
            while "lease" not in frame.f_locals:
                frame = frame.f_back
            frame.f_locals["lease"].requested_at -= 5 * 10**9

    event.listen(engine.pool, "checkout", requested_earlier)
    with capture(tmp_path) as captured:
        with engine.connect() as connection:  # the connection is known
            pass
        listening.append(1)
        with engine.connect() as connection:
            connection.execute(SELECT)
            connection.rollback()
            (lease,) = captured.installed.watch.leases.values()
            assert lease.plain
            for instant in ("requested_at", "started_at", "control_at"):
                setattr(lease, instant, getattr(lease, instant) - 6 * 10**9)
        assert captured.installed.watch.leases == {}
    events = {(event.kind, event.flags): event for event in captured.ledger()[2] if event.kind is not Kind.RESET}
    request, checkout = events.pop((Kind.REQUEST, Flag.NONE)), events.pop((Kind.CHECKOUT, Flag.NONE))
    statement, rollback = events.pop((Kind.STATEMENT, Flag.NONE)), events.pop((Kind.STATEMENT, Flag.SKIPPED))
    ((_, checkin),) = events.items()
    assert checkin.kind is Kind.CHECKIN
    assert 5 * 10**9 < checkout.at - request.at < 6 * 10**9
    assert 6 * 10**9 < checkin.at - statement.at < 7 * 10**9
    assert checkin.sql == statement.at - statement.started_at + rollback.at - rollback.started_at
    assert (checkin.statements, checkin.transactions) == (1, 1)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("commits", [True, False])
def test_every_statement_of_a_lease_is_told_once_however_many_there_are(tmp_path, engine, count, commits):
    with capture(tmp_path) as captured, engine.connect() as connection:
        for _ in range(count):
            connection.execute(SELECT)
            if commits:
                connection.commit()
    events = captured.ledger()[1]
    statements = [event for event in events if event.kind is Kind.STATEMENT]
    checkin = events[-1]
    told = [event for event in statements if Flag.SKIPPED not in event.flags]
    assert len(told) == checkin.statements == count
    assert checkin.transactions == (count if commits else min(count, 1))
    spans = sorted((event.started_at, event.at) for event in statements)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    assert checkin.sql == sum(end - begin for begin, end in spans)
    assert {captured.names["statement"][event.statement]["text"] for event in told} <= {"select ?"}


def test_a_statement_that_took_long_is_told_before_its_lease_ends(tmp_path, engine):
    nap = sa.text("select nap()")
    with capture(tmp_path) as captured, engine.connect() as connection:
        connection.connection.dbapi_connection.create_function("nap", 0, lambda: time.sleep(IDLE_WORTH_NS / 1e9))
        connection.execute(nap)
        assert len([event for event in captured.poll() if event.kind is Kind.STATEMENT]) == 1
        connection.execute(nap)
        assert len([event for event in captured.poll() if event.kind is Kind.STATEMENT]) == 2
    assert captured.of(Kind.CHECKIN)[0].statements == 2


def test_the_task_that_asked_is_told_in_one_loop_and_in_two(tmp_path):
    from sqlalchemy.ext.asyncio import create_async_engine

    engines = [create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db") for _ in range(2)]
    asked = []

    async def ask(engine):
        async with engine.connect() as connection:
            asked.append(id(asyncio.current_task()))
            await connection.execute(SELECT)
        await engine.dispose()

    async def both():
        await ask(engines[0])
        await asyncio.to_thread(asyncio.run, ask(engines[1]))

    with capture(tmp_path) as captured:
        asyncio.run(both())
    assert [event.task for event in captured.of(Kind.REQUEST)] == asked


def test_a_lease_that_idles_on_an_event_loop_is_told_with_its_statement_while_it_is_open(tmp_path):
    from sqlalchemy.ext.asyncio import create_async_engine

    async def idle(captured):
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db")
        async with engine.connect() as connection:
            await connection.execute(SELECT)
            deadline = time.monotonic() + 30
            while not any(event.kind is Kind.STATEMENT for event in captured.poll()) and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            told = len(captured.of(Kind.STATEMENT))
            await connection.execute(SELECT)
        await engine.dispose()
        return told

    with capture(tmp_path) as captured:
        assert asyncio.run(idle(captured)) == 1
    (checkin,) = captured.of(Kind.CHECKIN)
    assert checkin.statements == 2
    assert len([event for event in captured.of(Kind.STATEMENT) if Flag.SKIPPED not in event.flags]) == 2
