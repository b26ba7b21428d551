"""Laws of reading a log: what a pool did comes out again, whatever the order; damage makes no lease twice."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pool_lines import ASYNC, Read, Told, asctime, async_connection, full, json_lines, read

from poolctl.analysis.records import read as read_records
from poolctl.errors import InputError
from poolctl.target.log_formats import take_apart
from poolctl.target.log_messages import find_message, key_of

LAWS = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ADDRESSES = (0x7F00, 0x7F10, 0x7F20, 0x7F30)


@dataclass
class Pool:
    """A pool that does what it is told, tells it as SQLAlchemy does, and keeps the truth. Milliseconds."""

    log: Told = field(
        default_factory=lambda: Told(
            show=async_connection, common={"logger": f"sqlalchemy.pool.impl.{ASYNC}", "task": None}
        )
    )
    at: int = 0
    idle: list[int] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)
    """Address to the checkout."""
    truth: list[tuple[int | None, int | None, str]] = field(default_factory=list)

    def say(self, what: str, address: int, **more: object) -> None:
        getattr(self.log, what)(self.at / 1000, address, **more)

    def free(self) -> list[int]:
        return [address for address in ADDRESSES if address not in self.held and address not in self.idle]

    def over(self, address: int, end: str) -> None:
        self.truth.append((self.held.pop(address), self.at, end))

    def take(self, pick: int) -> None:
        if self.idle:
            address = self.idle.pop(pick % len(self.idle))
        elif self.free():
            address = self.free()[pick % len(self.free())]
            self.say("created", address)
        else:
            return
        self.say("checked_out", address)
        self.held[address] = self.at

    def dead_on_checkout(self, pick: int) -> None:
        if not self.idle or not self.free():
            return
        old, new = self.idle.pop(pick % len(self.idle)), self.free()[0]
        self.say("checked_out", old)
        failed = f"Pool pre-ping on connection {async_connection(old)} failed, will invalidate pool"
        self.log.say(self.at / 1000, failed)
        self.say("invalidate", old, reason="InvalidatePoolError:")
        self.at += 3
        self.say("created", new)
        self.held[new] = self.at

    def recycle(self, pick: int) -> None:
        if not self.idle:
            return
        address = self.idle.pop(pick % len(self.idle))
        self.log.say(self.at / 1000, f"Connection {async_connection(address)} exceeded timeout; recycling")
        self.say("closing", address, hard=True)
        self.at += 2
        self.say("created", address)
        self.say("checked_out", address)
        self.held[address] = self.at

    def refused(self, _pick: int) -> None:
        self.log.say(self.at / 1000, "Error on connect(): no")
        self.truth.append((None, self.at, "failed"))

    def give_back(self, pick: int) -> None:
        if self.held:
            address = sorted(self.held)[pick % len(self.held)]
            self.say("returned", address)
            self.over(address, "returned")
            self.idle.append(address)

    def give_back_overflow(self, pick: int) -> None:
        if self.held:
            address = sorted(self.held)[pick % len(self.held)]
            self.say("returned", address)
            self.over(address, "returned")
            self.say("closing", address)

    def invalidate(self, pick: int) -> None:
        if self.held:
            address = sorted(self.held)[pick % len(self.held)]
            reason, end = [("OperationalError:x", "invalidated"), ("CancelledError:", "cancelled")][pick % 2]
            self.say("invalidate", address, reason=reason)
            self.over(address, end)

    def detach(self, pick: int) -> None:
        if self.held:
            address = sorted(self.held)[pick % len(self.held)]
            self.say("reset", address)
            self.over(address, "detached")
            self.say("closing", address, hard=True)

    def forget(self, pick: int) -> None:
        if self.held:
            address = sorted(self.held)[pick % len(self.held)]
            self.say("returning", address)
            self.over(address, "abandoned")
            self.say("closing", address, hard=True)
            self.log.say(
                self.at / 1000,
                f"The garbage collector is trying to clean up non-checked-in connection {async_connection(address)}, "
                "which will be terminated.  Please ensure",
            )

    def finish(self) -> list[tuple[int | None, int | None, str]]:
        self.truth += [(at, None, "open") for at in self.held.values()]
        return sorted(self.truth, key=str)


DEEDS = ("take", "take", "take", "give_back", "give_back", "give_back_overflow", "dead_on_checkout", "recycle",
         "refused", "invalidate", "detach", "forget")  # fmt: skip
programs = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 7), st.integers(30, 500)), min_size=1, max_size=40)


def played(program: list[tuple[str, int, int]]) -> Pool:
    pool = Pool()
    pool.take(0)
    for deed, pick, pause in program:
        pool.at += pause
        getattr(pool, deed)(pick)
    return pool


@contextmanager
def reading(text: str | bytes) -> Iterator[Read]:
    """Read a log in a directory of its own, which goes again."""
    with tempfile.TemporaryDirectory(prefix="pool-log-") as name:
        path = Path(name) / "pool.log"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        yield read(path, path.parent)


@LAWS
@given(programs, st.sampled_from([full, asctime, json_lines]))
def test_what_the_pool_did_comes_out_again(program, style):
    pool = played(program)
    with reading(pool.log.text(style)) as found:
        rows = found.tables.leases.itertuples(index=False)
        seen = [(_ms(row.acquired_at_s), _ms(row.ended_at_s), str(row.end)) for row in rows]
        assert sorted(seen, key=str) == pool.finish()
        assert found.summary.orphans == found.summary.unclear == found.summary.duplicates == 0


def _ms(seconds: float) -> int | None:
    return None if seconds != seconds else round(seconds * 1000)


@LAWS
@given(programs, st.randoms(use_true_random=False), st.sampled_from(["lose", "twice", "shuffle", "cut"]))
def test_a_damaged_log_makes_each_lease_once_and_no_negative_time(program, chance, damage):
    lines = [full(line) for line in played(program).log.lines]
    with suppress(InputError), reading("\n".join(damaged(lines, chance, damage))) as found:
        leases = found.tables.leases
        assert len(leases) == found.summary.leases == sum(found.summary.ends.values())
        assert not leases.duplicated(["process", "lease"]).any()
        assert leases["end"].notna().all()
        assert not (leases["hold_time_s"] < 0).any()
        assert leases["wait_time_s"].isna().all()
        assert all(read_records(events).lost == 0 for events in found.run.event_files())
        if damage not in ("shuffle", "cut"):  # in order, each connection has one holder at a time
            held = leases[leases["hold_time_s"] > 0].sort_values("acquired_at_s")
            for _, mine in held.groupby(["process", "connection"]):
                starts, ends = mine["acquired_at_s"].to_numpy(), mine["ended_at_s"].to_numpy()
                assert (starts[1:] >= ends[:-1]).all()


def damaged(lines: list[str], chance: random.Random, damage: str) -> list[str]:
    if damage == "lose":
        return [line for line in lines if chance.random() > 0.2]
    if damage == "twice":
        return [line for line in lines for _ in range(chance.choice([1, 1, 2]))]
    if damage == "shuffle":
        return chance.sample(lines, len(lines))
    return [line[: chance.randrange(len(line))] if chance.random() < 0.2 else line for line in lines]


@LAWS
@given(programs)
def test_every_line_written_twice_makes_the_same_leases(program):
    lines = played(program).log.lines
    twice = [line for line in lines for _ in range(2)]
    with reading(Told(lines).text()) as alone, reading(Told(twice).text()) as found:
        assert found.summary.ends == alone.summary.ends
        assert found.summary.duplicates == len(lines)


@LAWS
@given(programs, st.integers(1, 4))
def test_processes_that_share_a_log_do_not_share_leases(program, count):
    lines = played(program).log.lines
    shared = [replace(line, pid=100 + n) for line in lines for n in range(count)]
    with reading(Told(lines).text()) as alone, reading(Told(shared).text()) as found:
        assert found.summary.ends == {end: number * count for end, number in alone.summary.ends.items()}
        assert found.summary.processes == count


@given(st.text(max_size=300))
def test_no_text_is_too_strange(text):
    find_message(text)
    take_apart(text)
    key_of(text)
    take_apart(f"2026-01-01 00:00:00,000 Connection <{text} at 0x12> checked out from pool {text}")
    take_apart(f'{{"message": "{text}", "log": {{}}, "time": "{text}"}}')


@settings(LAWS, max_examples=40)
@given(st.binary(max_size=2000))
def test_no_bytes_are_too_strange(data):
    with suppress(InputError), reading(data):
        pass
