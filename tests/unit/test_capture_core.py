"""What runs at every lease, compiled or not, stands what an application does to it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import weakref

import pytest
import sqlalchemy as sa
from captured import capture
from sqlalchemy.engine import cursor
from sqlalchemy.pool import QueuePool

from poolctl.capture import Recorder, bootstrap, hooks, recorder
from poolctl.trace import ring
from poolctl.trace.tail import Tail

SELECT = sa.text("select 1")
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning",
    "ignore:unclosed database:ResourceWarning",
    "ignore:.*use of fork:DeprecationWarning",
)


@pytest.fixture
def engine():
    engine = sa.create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=-1)
    yield engine
    engine.dispose()


class Interrupt(BaseException):
    """What an application's signal handler raises, wherever the thread is."""


class InterruptedClock:
    """A clock; after its call number `at` the interrupt comes."""

    def __init__(self, at):
        self.calls, self.at = 0, at

    def __call__(self):
        self.calls += 1
        if self.calls == self.at:
            raise Interrupt
        return 0


def interrupted(*_args, **_more):
    raise Interrupt


def test_a_tail_writes_into_no_buffer_that_has_no_room_for_a_record():
    for size, records in ((0, 0), (64, 0), (63, 1), (64, 2)):
        with pytest.raises(ValueError):
            Tail(bytearray(size), records)


def test_connections_in_cycles_are_found_when_the_collector_comes_while_another_is_looked_for(tmp_path, engine):
    class Cycle:
        pass

    with capture(tmp_path) as captured:
        connections = [engine.raw_connection() for _ in range(120)]
        before, spare = gc.get_threshold(), [(number, None) for number in range(4000)]  # no tuple is at hand any more
        try:
            for number in range(55):
                gc.disable()
                cycle = Cycle()
                cycle.itself, cycle.connection = cycle, connections.pop()
                del cycle
                gc.set_threshold(gc.get_count()[0] + 5 + number)
                gc.enable()
                connections.pop()  # looks through the leases, and so makes what the collector counts
        finally:
            gc.set_threshold(*before)
            gc.enable()
        del spare
        gc.collect()
        for connection in connections:
            connection.close()
    assert captured.ends() == ["returned"] * 10 + ["abandoned"] * 110


@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupt_around_the_wait_for_a_slot_leaves_nobody_waiting(tmp_path, engine, monkeypatch, at):
    with capture(tmp_path) as captured:
        with engine.connect():
            pass
        (state,) = captured.installed.watch.pools.values()
        monkeypatch.setattr(hooks, "monotonic_ns", InterruptedClock(at))
        with pytest.raises(Interrupt):
            engine.connect()
        assert state.waiting == 0


def test_an_interrupt_in_the_answer_to_a_request_leaves_nobody_holding(tmp_path, engine, monkeypatch):
    with capture(tmp_path) as captured:
        watch = captured.installed.watch
        with monkeypatch.context() as patched:
            patched.setattr(watch, "news", interrupted)
            with pytest.raises(Interrupt):
                engine.connect()
        gc.collect()
        (state,) = watch.pools.values()
        assert (engine.pool.checkedout(), state.checked_out, watch.leases) == (0, 0, {})


def test_an_interrupt_in_the_end_of_a_lease_leaves_nobody_holding(tmp_path, engine, monkeypatch):
    with capture(tmp_path) as captured:
        watch = captured.installed.watch
        connection = engine.connect()
        connection.execute(SELECT)
        connection.execute(SELECT)
        with monkeypatch.context() as patched:
            patched.setattr(watch, "flush", interrupted)
            with pytest.raises(Interrupt):
                connection.close()
        (state,) = watch.pools.values()
        assert (engine.pool.checkedout(), state.checked_out, watch.leases) == (0, 0, {})


def test_a_child_that_is_interrupted_before_its_ring_is_there_does_not_write_into_its_parents(tmp_path, monkeypatch):
    ours = Recorder(tmp_path)
    parents = ours.ring
    monkeypatch.setattr(recorder, "RingWriter", interrupted)
    with pytest.raises(Interrupt):
        ours.reopen()
    assert ours.ring is not parents
    ours.close()
    parents.close()
    parents.path.unlink()


@pytest.mark.parametrize("forever", [True, False])
def test_a_child_without_room_for_a_ring_leaves_its_parents(tmp_path, engine, monkeypatch, forever):
    guest = bootstrap.Guest(tmp_path, forever=forever, dialects=None)
    paths = [guest.recorder.ring_path, guest.recorder.names_path]
    try:
        monkeypatch.setattr(ring, "_reserve", interrupted_by_a_full_disk)
        if (pid := os.fork()) == 0:
            try:
                guest._at_exit()
                guest.withdraw()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert [path.exists() for path in paths] == [True, True]
    finally:
        guest.leave()
        guest.withdraw()
    assert [path.exists() for path in paths] == [False, not forever]


def interrupted_by_a_full_disk(*_):
    raise OSError


UNLOADABLE = """
import pathlib, sys
from importlib.machinery import ExtensionFileLoader

create_module = ExtensionFileLoader.create_module

def refuse(self, spec):
    if spec.name.startswith("poolctl."):
        raise ImportError("failed to map segment from shared object")
    return create_module(self, spec)

ExtensionFileLoader.create_module = refuse

import sqlalchemy as sa
from poolctl.capture import Recorder, core, install, state
from poolctl.trace import tail

assert [module.__file__[-3:] for module in (core, state, tail)] == [".py"] * 3
recorder = Recorder(pathlib.Path(sys.argv[1]))
installed = install(recorder)
with sa.create_engine("sqlite://").connect() as connection:
    connection.execute(sa.text("select 1"))
print("errors", recorder.ring.counters[0], "leases", installed.watch.numbers, "records", recorder.ring.following > 3)
recorder.ring_path.unlink()
"""


def test_where_machine_code_cannot_be_loaded_capture_runs_as_python(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", UNLOADABLE, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["errors", "0", "leases", "1", "records", "True"], done.stderr


def test_a_lock_that_another_thread_holds_at_a_fork_stops_nobody_in_the_child(tmp_path, engine):
    guest = bootstrap.start(tmp_path)
    taken, done = threading.Event(), threading.Event()

    def take():
        with bootstrap._lock, guest.installed._lock:
            taken.set()
            done.wait()

    other = threading.Thread(target=take)
    other.start()
    taken.wait()
    try:
        if (pid := os.fork()) == 0:
            status = 1
            signal.alarm(60)  # ends a child that is stopped
            try:
                with engine.connect():  # a pool that the child has not met
                    bootstrap.stop()
                guest.withdraw()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        done.set()
        other.join()
        bootstrap.stop()
        guest.withdraw()


def test_a_result_that_cannot_be_asked_is_fetched_as_ever(tmp_path):
    class Result:
        @property
        def context(self):
            raise RuntimeError

        def _soft_close(self):
            pass

    class Cursor:
        def fetchall(self):
            return ["row"]

    with capture(tmp_path):
        assert cursor._DEFAULT_FETCH.fetchall(Result(), Cursor()) == ["row"]


def test_a_hook_that_somebody_keeps_keeps_no_shared_memory(tmp_path, engine):
    with capture(tmp_path) as captured, engine.connect():
        kept, memory = QueuePool.connect, weakref.ref(captured.recorder.ring)
    assert kept is not QueuePool.connect
    gc.collect()
    assert memory() is None
