"""The player on a loop, without a server: transactions that take the engine and never use it."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from poolctl.capture.recorder import Recorder
from poolctl.clock import NS, monotonic_ns
from poolctl.errors import UsageError
from poolctl.load import Scenario, batch_of, closed, from_file, transaction
from poolctl.load.alarm import Alarm
from poolctl.load.loop import LoopThread, loop_kind
from poolctl.load.perform import Performer
from poolctl.load.player import ClosedPlayer, OpenPlayer
from poolctl.load.tape import ClosedTape, OpenTape, draw
from poolctl.trace.drain import Drain
from poolctl.trace.events import LAYOUTS, Flag, Kind

log: list[tuple[str, int]] = []
"""What transactions of these tests did: a word, the instant."""


@transaction
async def wait_long(engine):
    log.append(("began", monotonic_ns()))
    await asyncio.sleep(30)


@transaction
async def quick(engine):
    log.append(("ran", monotonic_ns()))


@transaction
async def fails(engine):
    log.append(("failed", monotonic_ns()))
    raise ConnectionRefusedError


@pytest.fixture(autouse=True)
def empty_log() -> Iterator[None]:
    log.clear()
    yield
    log.clear()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path)
    yield made
    made.close()
    made.ring_path.unlink(missing_ok=True)


def performer(one, recorder: Recorder | None = None) -> Performer:
    return Performer(create_async_engine("postgresql+asyncpg://nobody@/nowhere"), (one,), recorder)


def open_tape(one, arrivals, duration_s: float = 10.0) -> OpenTape:
    scenario = type("Case", (Scenario,), {"arrivals": arrivals, "transactions": (one,)})
    tape = draw(scenario, 1, duration_s)
    assert isinstance(tape, OpenTape)
    return tape


def closed_tape(one, clients: int) -> ClosedTape:
    scenario = type("Case", (Scenario,), {"arrivals": closed(clients), "transactions": (one,)})
    tape = draw(scenario, 1, 10.0)
    assert isinstance(tape, ClosedTape)
    return tape


def recorded(tmp_path: Path, kind: Kind) -> list[dict[str, int]]:
    drain = Drain(next(tmp_path.glob("names-*.jsonl")))
    data = drain.close()
    names = ("sequence", "at", "lease", "kind", "flags", "pool", "site", "intended_at", "started_at", "context", "item")
    rows = [LAYOUTS[kind].unpack(data[at : at + 64]) for at in range(0, len(data), 64) if data[at + 24] == kind]
    return [dict(zip(names, row, strict=False)) for row in rows]


async def until(condition) -> None:
    """Wait for `condition`, 10 seconds at most."""
    deadline = monotonic_ns() + 10 * NS
    while not condition() and monotonic_ns() < deadline:
        await asyncio.sleep(0.005)
    assert condition()


def test_all_of_a_batch_are_started_however_long_they_take(recorder, tmp_path):
    async def main() -> int:
        player = OpenPlayer(open_tape(wait_long, batch_of(50, "20s")), performer(wait_long, recorder), recorder)
        player.play([0], 1, monotonic_ns())
        await until(lambda: len(log) == 50)
        assert player.in_flight == 50
        return await player.finish(0.0)

    assert asyncio.run(main()) == 50
    rows = recorded(tmp_path, Kind.OPERATION)
    assert [row["flags"] for row in rows] == [Flag.CANCELLED] * 50
    assert sorted(row["item"] for row in rows) == list(range(50))
    assert len({row["intended_at"] for row in rows}) == 1


def test_what_does_not_fit_in_flight_is_skipped_and_written_down(recorder, tmp_path):
    async def main() -> OpenPlayer:
        doer = performer(wait_long, recorder)
        player = OpenPlayer(open_tape(wait_long, batch_of(8, "20s")), doer, recorder, max_in_flight=5)
        player.play([0], 1, monotonic_ns())
        await until(lambda: len(log) == 5)
        await player.finish(0.0)
        return player

    assert asyncio.run(main()).skipped == 3
    rows = recorded(tmp_path, Kind.OPERATION)
    skipped = [row for row in rows if row["flags"] & Flag.SKIPPED]
    assert len(rows) == 8
    assert sorted(row["item"] for row in skipped) == [5, 6, 7]
    assert {row["started_at"] for row in skipped} == {0}


def test_an_operation_never_starts_before_its_instant(tmp_path):
    file = tmp_path / "arrivals.txt"
    file.write_text("0.01\n0.02\n0.02\n0.05\n0.08\n")
    tape = open_tape(quick, from_file(file))

    async def main() -> int:
        player = OpenPlayer(tape, performer(quick), None)
        start_at = monotonic_ns() + NS // 100
        player.play([0], 1, start_at)
        await until(lambda: len(log) == 5)
        await player.finish(1.0)
        return start_at

    start_at = asyncio.run(main())
    assert len(log) == 5
    assert all(at >= start_at + due for (_, at), due in zip(log, tape.due_ns.tolist(), strict=True))


def test_parts_dealt_anew_go_on_from_now_without_playing_anything_twice(recorder, tmp_path):
    file = tmp_path / "arrivals.txt"
    file.write_text("".join(f"{number / 100}\n" for number in range(40)))
    tape = open_tape(quick, from_file(file))

    async def main() -> tuple[int, int]:
        player = OpenPlayer(tape, performer(quick, recorder), recorder)
        start_at = monotonic_ns()
        player.play([0], 2, start_at)
        await until(lambda: len(log) >= 3)
        dealt_at = monotonic_ns() - start_at
        player.play([0, 1], 2, start_at)
        await until(lambda: player.played)
        await player.finish(1.0)
        return dealt_at, start_at

    dealt_at, _ = asyncio.run(main())
    items = [row["item"] for row in recorded(tmp_path, Kind.OPERATION)]
    assert len(set(items)) == len(items)
    assert set(range(0, 40, 2)) <= set(items)
    assert {number for number in range(40) if tape.due_ns[number] > dealt_at + NS // 100} <= set(items)
    assert not {number for number in range(1, 40, 2) if tape.due_ns[number] < dealt_at} & set(items)


def test_clients_stop_when_they_are_no_longer_named_and_others_begin():
    async def main() -> tuple[int, int, int]:
        player = ClosedPlayer(closed_tape(quick, 3), performer(quick), None)
        player.play([0, 1], 3, 0)
        await asyncio.sleep(0.02)
        two = player.in_flight
        player.play([1, 2], 3, 0)
        await asyncio.sleep(0.02)
        again = player.in_flight
        cancelled = await player.finish(1.0)
        assert player.in_flight == 0
        return two, again, cancelled

    assert asyncio.run(main()) == (2, 2, 0)


def test_a_client_that_never_waits_does_not_stop_the_loop():
    async def main() -> int:
        player = ClosedPlayer(closed_tape(quick, 1), performer(quick), None)
        player.play([0], 1, 0)
        for _ in range(3):
            await asyncio.sleep(0)
        return await player.finish(1.0)

    assert asyncio.run(asyncio.wait_for(main(), 20)) == 0


def test_a_client_backs_off_from_a_server_that_refuses_connections():
    async def main() -> None:
        player = ClosedPlayer(closed_tape(fails, 1), performer(fails), None)
        player.play([0], 1, 0)
        await until(lambda: len(log) == 3)
        await player.finish(0.0)

    asyncio.run(main())
    gaps = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(log)]
    assert min(gaps) >= int(0.25 * NS)


def test_the_generator_looks_at_itself(recorder, tmp_path):
    async def main() -> None:
        player = OpenPlayer(open_tape(quick, batch_of(1, "20s")), performer(quick, recorder), recorder)
        player.begin_samples()
        await asyncio.sleep(1.2)
        await player.finish(0.0)

    asyncio.run(main())
    rows = recorded(tmp_path, Kind.SAMPLE)
    assert len(rows) >= 2  # one a second, and one at the end
    cpu, wall = rows[0]["intended_at"], rows[0]["started_at"]  # the payload's first two words
    assert 0 < cpu < wall
    assert wall >= NS


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_an_alarm_rings_at_its_instant_at_once_for_the_past_and_never_when_closed(kind: str):
    rung: list[int] = []

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        alarm = Alarm(loop, lambda: rung.append(monotonic_ns()))
        wanted = monotonic_ns() + NS // 50
        alarm.set(wanted)
        await until(lambda: rung)
        assert rung[0] >= wanted
        alarm.set(1)
        await until(lambda: len(rung) == 2)
        alarm.set(monotonic_ns() + NS // 50)
        alarm.set(monotonic_ns() + 10 * NS)
        await asyncio.sleep(0.04)
        alarm.close()
        alarm.close()
        return rung

    thread = LoopThread(kind).start()
    assert len(thread.submit(main()).result(10)) == 2
    assert thread.stop()


def test_where_there_is_no_timerfd_the_loops_own_timer_rings(monkeypatch):
    monkeypatch.setattr("poolctl.load.alarm._timerfd", lambda: None)
    test_an_alarm_rings_at_its_instant_at_once_for_the_past_and_never_when_closed("asyncio")


def test_an_exception_that_nobody_handles_on_the_loop_is_kept():
    async def breaks() -> None:
        raise RuntimeError("a bug")

    async def main() -> None:
        asyncio.get_running_loop().create_task(breaks())
        await asyncio.sleep(0.01)
        gc.collect()

    thread = LoopThread("asyncio").start()
    thread.submit(main()).result(10)
    assert thread.stop()
    assert isinstance(thread.failure, RuntimeError)


def test_an_unknown_loop_is_refused():
    with pytest.raises(UsageError, match="no event loop 'trio'"):
        loop_kind("trio")
    assert loop_kind(None) == "uvloop"
    assert loop_kind("asyncio") == "asyncio"
