from __future__ import annotations

import ast
import gc
import logging
import os
import subprocess
import sys
import time
import types

import pytest
import sqlalchemy as sa
from captured import capture, parse

from poolctl.capture import Recorder, install
from poolctl.capture import recorder as recorder_module
from poolctl.errors import OutputError
from poolctl.trace.deltas import DeltaLog
from poolctl.trace.drain import Drains
from poolctl.trace.events import Flag, Kind
from poolctl.trace.names import read_names
from poolctl.trace.ring import SHARED_MEMORY

SELECT = sa.text("select 1")
pytestmark = pytest.mark.filterwarnings(  # Python 3.13's word on connections that a test leaves to the collector
    "ignore:.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning", "ignore:unclosed database:ResourceWarning"
)


@pytest.fixture
def engine(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    yield engine
    engine.dispose()


def test_the_tables_of_names_are_bounded(tmp_path, engine, monkeypatch):
    monkeypatch.setattr(recorder_module, "CAPS", dict.fromkeys(recorder_module.CAPS, 3))
    with capture(tmp_path) as captured:
        with engine.connect() as connection:
            for n in range(10):
                connection.execute(sa.text(f"select 1 as c{n}"))
        for n in range(10):
            captured.recorder.context(f"endpoint {n}")
            captured.recorder.site_of((f"{n}.py", 1, "f"))
    recorder = captured.recorder
    assert len(recorder.statements) <= 3
    assert [len(captured.names[kind]) for kind in ("statement", "context", "site")] == [3, 3, 3]
    assert len(recorder._sites) == len(recorder._contexts) == 3
    assert len(recorder._numbers) <= 12


def test_a_statement_of_a_megabyte_takes_no_megabyte(tmp_path):
    recorder = Recorder(tmp_path, ring_records=64)
    assert recorder.statement("select " + "1," * 500_000 + "1") == recorder.statement("select " + "1," * 500_000 + "2")
    assert max(map(len, recorder.statements)) <= 8192
    recorder.close()
    recorder.ring_path.unlink()


def test_a_full_arena_for_names_leaves_the_records(tmp_path, engine):
    with capture(tmp_path, names_bytes=4096, stacks="none") as captured:
        for n in range(200):
            captured.recorder.context(f"endpoint {n} {'x' * 100}")
        with engine.connect() as connection:
            connection.execute(SELECT)
    assert captured.ends() == ["returned"]
    assert captured.names["capture"][0]["names_dropped"] > 0


def test_a_directory_that_cannot_be_written_is_one_clear_line_and_leaves_no_ring(tmp_path):
    before = set(SHARED_MEMORY.iterdir())
    with pytest.raises(OutputError, match="cannot write"):
        Recorder(tmp_path / "no" / "such")
    assert {path for path in SHARED_MEMORY.iterdir() if f"-{os.getpid()}-" in path.name} <= before


def test_an_operation_and_a_sample_are_recorded_as_they_were_said(tmp_path):
    with capture(tmp_path) as captured:
        captured.recorder.operation(1, 2, 3, "buy", 4, 5)
        captured.recorder.operation(1, 0, 3, "buy", 5, 6, Flag.SKIPPED)
        captured.recorder.operation(1, 2, 3, "buy", 6, 7, error=sa.exc.TimeoutError("x"))
        captured.recorder.sample(9, cpu=1, wall=2, in_flight=3, due=4, threads_cpu=5)
    done, skipped, failed = captured.of(Kind.OPERATION)
    assert (done.intended_at, done.started_at, done.at, done.item, done.client, done.flags) == (1, 2, 3, 4, 5, Flag(0))
    assert skipped.flags == Flag.SKIPPED
    assert failed.flags == Flag.ERROR
    assert captured.name("error", failed.error) == "sqlalchemy.exc.TimeoutError"
    (sample,) = captured.of(Kind.SAMPLE)
    assert (sample.cpu, sample.wall, sample.in_flight, sample.due, sample.threads_cpu) == (1, 2, 3, 4, 5)


def test_opentelemetry_gives_the_trace_id_when_the_application_has_it(tmp_path, engine, monkeypatch):
    span = types.SimpleNamespace(is_valid=True, trace_id=(7 << 64) | 9, span_id=11)
    module = types.ModuleType("opentelemetry.trace")
    module.get_current_span = lambda: types.SimpleNamespace(get_span_context=lambda: span)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    with capture(tmp_path) as captured, engine.connect():
        pass
    (trace,) = captured.of(Kind.TRACE)
    assert (trace.trace_high, trace.trace_low, trace.span, trace.lease) == (7, 9, 11, 1)


def test_capture_imports_nothing_but_sqlalchemy_and_the_standard_library():
    code = (
        "import sys, poolctl.capture; "
        "print(sorted({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    others = {name for name in ast.literal_eval(found) if not name.startswith("_")}
    assert others <= {"poolctl", "sqlalchemy", "typing_extensions", "greenlet", "sitecustomize", "cython_runtime"}


def test_a_forked_child_has_a_ring_of_its_own_and_leaves_the_parents_alone(tmp_path, engine):
    recorder = Recorder(tmp_path, ring_records=1024)
    installed = install(recorder)
    parent = engine.connect()
    parent.execute(SELECT)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fresh = sa.create_engine(engine.url)
            with fresh.connect() as connection:
                connection.execute(SELECT)
            assert not installed.watch.leases
            with engine.connect() as connection:
                connection.execute(SELECT)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    parent.close()
    installed.remove()
    drains = Drains(tmp_path)
    found = {drain.pid: parse(records) for drain, records in drains.poll()}
    names = {pid: read_names(tmp_path / f"names-{pid}.jsonl") for pid in found}
    drains.close()
    recorder.close()
    assert set(found) == {os.getpid(), child}
    assert [event.kind for event in found[os.getpid()] if event.lease] == [
        Kind.REQUEST, Kind.CONNECT, Kind.CHECKOUT, Kind.STATEMENT, Kind.STATEMENT, Kind.CHECKIN,
    ]  # fmt: skip
    assert sum(event.kind is Kind.CHECKIN for event in found[child]) == 2
    assert names[child]["process"][0]["parent"] == os.getpid()
    assert not list(tmp_path.glob("*.ring"))


def test_a_child_that_uses_its_parents_connection_is_told(tmp_path, engine):
    with engine.connect():
        pass
    engine.dispose()
    recorder = Recorder(tmp_path, ring_records=1024)
    installed = install(recorder)
    with engine.connect():
        pass
    child = os.fork()
    if child == 0:
        try:
            with engine.connect():
                pass
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    installed.remove()
    drains = Drains(tmp_path)
    drains.poll()
    drains.close()
    recorder.close()
    assert "inherited" in read_names(tmp_path / f"names-{child}.jsonl")
    assert "inherited" not in read_names(tmp_path / f"names-{os.getpid()}.jsonl")


def test_a_child_that_cannot_have_a_ring_goes_on_unwatched(tmp_path, engine):
    directory = tmp_path / "run"
    directory.mkdir()
    recorder = Recorder(directory, ring_records=1024)
    installed = install(recorder)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fresh = sa.create_engine(engine.url)
            with fresh.connect() as connection:
                status = 0 if connection.execute(SELECT).scalar() == 1 else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    installed.remove()
    recorder.close()
    recorder.ring_path.unlink()


def test_each_delta_is_one_log_record_at_debug(tmp_path, engine, caplog):
    with caplog.at_level(logging.DEBUG, logger="poolctl.pool"), capture(tmp_path) as captured:
        deltas = DeltaLog()
        before = time.time()
        with engine.connect() as connection:
            connection.execute(SELECT)
        with engine.connect() as connection:
            connection.invalidate()
        raw = captured._drain.poll()
        deltas.feed(captured._drain.names_path, raw)
    lines = [record.getMessage() for record in caplog.records if record.name == "poolctl.pool"]
    assert [line.split()[0] for line in lines] == [
        "request", "connect", "checkout", "checkin", "request", "checkout", "invalidate", "close", "checkin",
    ]  # fmt: skip
    checkout = lines[2]
    for part in ("pool=1", "lease=1", "wait=", "connect=", "ping=0.000ms", "checked_out=1", "flags=fresh"):
        assert part in checkout
    assert f"site={__file__}:" in checkout
    assert "checked_out=0" in lines[3]
    assert all(abs(record.created - before) < 60 for record in caplog.records if record.name == "poolctl.pool")


def test_without_the_level_the_deltas_are_not_even_looked_at(tmp_path):
    DeltaLog().feed(tmp_path / "there is no such file", b"nor such a record")


def test_nothing_is_left_of_an_interrupt_that_comes_in_the_middle(tmp_path, engine, monkeypatch):
    with capture(tmp_path) as captured:
        watch = captured.installed.watch

        def interrupt(*_args, **_more):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(engine.dialect, "do_execute", interrupt)
            connection = engine.connect()
            with pytest.raises(KeyboardInterrupt):
                connection.execute(SELECT)
            connection.close()
        assert not watch.leases
        gc.collect()
    assert captured.ends() == ["invalidated"]
