from __future__ import annotations

import gc
import os
import types
import weakref

import pytest
import sqlalchemy as sa
import sqlalchemy.engine.cursor
import sqlalchemy.pool.base
from captured import capture
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import Pool, QueuePool

from poolctl.capture import Recorder, install
from poolctl.trace.events import Kind

SELECT = sa.text("select 1")
pytestmark = pytest.mark.filterwarnings(  # Python 3.13's word on connections that a test leaves to the collector
    "ignore:.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning", "ignore:unclosed database:ResourceWarning"
)


def tree(root):
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def everything():
    """All attributes that capture could touch, by owner."""
    base = sqlalchemy.pool.base
    owners = [*tree(Pool), *tree(DefaultDialect), base._ConnectionRecord, base._ConnectionFairy, base]
    owners += [*tree(sqlalchemy.engine.cursor.ResultFetchStrategy)]
    return {owner: dict(vars(owner)) for owner in owners}


@pytest.fixture
def engine(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    yield engine
    engine.dispose()


def test_removal_puts_back_every_attribute(tmp_path, engine):
    import sqlalchemy.dialects.mssql.pyodbc
    import sqlalchemy.dialects.mysql.mysqldb
    import sqlalchemy.dialects.postgresql.asyncpg  # noqa: F401

    with engine.connect():
        pass
    before = everything()
    with capture(tmp_path):
        during = everything()
        with engine.connect():
            pass
    assert everything() == before
    assert during != before


def test_while_it_is_on_only_functions_were_replaced_and_each_remembers_its_original(tmp_path):
    before = everything()
    with capture(tmp_path):
        for owner, attributes in everything().items():
            assert list(attributes) == list(before[owner])
            for name, value in attributes.items():
                if value is not before[owner][name]:
                    assert isinstance(value, types.FunctionType)
                    assert value.__wrapped__ is before[owner][name]
                    assert value.__name__ == before[owner][name].__name__


def test_a_class_made_after_capture_began_is_watched_from_its_first_pool_on_and_put_back_too(tmp_path, engine):
    with capture(tmp_path) as captured:

        class Late(QueuePool):
            def _do_get(self):
                return super()._do_get()

        original = Late._do_get
        engine.dispose()
        late = sa.create_engine(engine.url, poolclass=Late)
        for _ in range(2):
            with late.connect() as connection:
                connection.execute(SELECT)
        assert Late._do_get is not original
    assert Late._do_get is original
    assert captured.ends() == ["returned", "returned"]


def test_a_wrapper_put_on_top_of_ours_stays_and_ours_under_it_does_nothing_any_more(tmp_path, engine):
    recorder = Recorder(tmp_path)
    installed = install(recorder)
    ours = Pool.connect
    theirs = lambda self: ours(self)  # noqa: E731
    Pool.connect = theirs
    try:
        installed.remove()
        assert Pool.connect is theirs
        with engine.connect() as connection:
            connection.execute(SELECT)
        assert not installed.watch.leases
    finally:
        Pool.connect = ours.__wrapped__
        recorder.close()
        recorder.ring_path.unlink()


def test_twice_on_and_off_leaves_nothing(tmp_path, engine):
    before = everything()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with capture(tmp_path / name) as captured, engine.connect():
            pass
        assert captured.ends() == ["returned"]
    assert everything() == before


def test_only_the_pools_that_were_asked_for_are_watched(tmp_path, engine):
    other = sa.create_engine(f"sqlite:///{tmp_path}/y.db")
    recorder = Recorder(tmp_path)
    installed = install(recorder, only=lambda pool: pool is engine.pool)
    try:
        with engine.connect(), other.connect():
            assert len(installed.watch.leases) == 1
    finally:
        installed.remove()
        recorder.close()
        recorder.ring_path.unlink()
    other.dispose()


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("broken", ["write", "words", "write_name", "following"])
def test_a_recorder_that_fails_never_hurts_the_application_and_is_counted(tmp_path, engine, broken, monkeypatch):
    recorder = Recorder(tmp_path)

    def fail(*_args, **_more):
        raise BrokenError

    monkeypatch.setattr(type(recorder.ring), broken, property(fail) if broken == "following" else fail, raising=False)
    installed = _install(recorder)
    try:
        for _ in range(3):
            with engine.connect() as connection:
                assert connection.execute(SELECT).scalar() == 1
        with engine.connect() as connection:
            connection.invalidate()
        connection = engine.connect()
        connection.detach()
        connection.close()
        connection = engine.connect()
        del connection
        gc.collect()
        with pytest.raises(sa.exc.OperationalError):
            sa.create_engine(f"sqlite:///{tmp_path}/no/x.db").connect()
        assert engine.pool.checkedout() == 0
        if broken != "write_name":
            assert recorder.ring.counters[0] > 0
    finally:
        installed.remove()
        recorder.close()
        recorder.ring_path.unlink()


def _install(recorder):
    """Install, though telling the blind spots may fail like everything else."""
    recorder.tell_blind = lambda *_: None
    return install(recorder)


def test_every_part_of_the_watch_may_fail(tmp_path, engine, monkeypatch):
    recorder = Recorder(tmp_path)
    installed = install(recorder)
    watch = installed.watch

    def fail(*_args, **_more):
        raise BrokenError

    try:
        for name in (
            "flush",
            "end",
            "worked",
            "news",
            "orphan",
            "detach",
            "connected",
            "closed",
            "invalidated",
            "settle",
            "pool",
        ):
            with monkeypatch.context() as patch:
                patch.setattr(type(watch), name, fail)
                with engine.connect() as connection:
                    assert connection.execute(SELECT).scalar() == 1
                with engine.connect() as connection:
                    connection.invalidate()
                engine.dispose()
        assert recorder.ring.counters[0] > 0
    finally:
        installed.remove()
        recorder.close()
        recorder.ring_path.unlink()


def test_a_name_that_this_sqlalchemy_does_not_have_is_left_out_and_told(tmp_path, engine, monkeypatch):
    monkeypatch.delattr(sqlalchemy.pool.base._ConnectionRecord, "invalidate", raising=True)
    with capture(tmp_path) as captured, engine.connect() as connection:
        connection.execute(SELECT)
    assert any("invalidate" in sentence for sentence in captured.names["capture"][0]["blind"])
    assert captured.ends() == ["returned"]


def test_nothing_of_the_applications_is_kept_alive(tmp_path):
    with capture(tmp_path) as captured:
        engine = sa.create_engine(f"sqlite:///{tmp_path}/z.db")
        with engine.connect() as connection:
            connection.execute(SELECT)
        engine.dispose()
        pool, dead = weakref.ref(engine.pool), weakref.ref(engine)
        del engine, connection
        gc.collect()
        assert dead() is None
        assert pool() is None
        watch = captured.installed.watch
        tables = (watch.pools, watch.connections, watch.leases, watch.spent, watch.returning)
        assert not any(tables)


def test_an_engine_per_request_does_not_grow_the_tables(tmp_path):
    with capture(tmp_path) as captured:
        for _ in range(50):
            engine = sa.create_engine(f"sqlite:///{tmp_path}/z.db")
            with engine.connect():
                pass
            engine.dispose()
        del engine
        gc.collect()
        assert not captured.installed.watch.pools
    assert len(captured.names["pool"]) == 50


def test_a_url_is_told_without_its_password(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    engine.url = sa.make_url("postgresql+psycopg://me:hush@db.example:5433/shop?sslpassword=hush")
    with capture(tmp_path) as captured, engine.connect():
        pass
    assert captured.names["pool"][1]["url"] == "postgresql+psycopg://me@db.example:5433/shop"
    assert "hush" not in (tmp_path / f"names-{os.getpid()}.jsonl").read_text()


def test_capture_measures_its_own_time(tmp_path, engine):
    with capture(tmp_path) as captured:
        for _ in range(130):
            with engine.connect() as connection:
                connection.execute(SELECT)
    about = captured.names["capture"][0]
    assert about["sampled"] == 2
    held = sum(event.at for event in captured.of(Kind.CHECKIN)) - sum(event.at for event in captured.of(Kind.CHECKOUT))
    assert 0 < about["overhead_ns"] < held * 20


def test_nothing_is_called_on_a_connection_of_an_unknown_driver(tmp_path):
    class Connection:
        """Whatever is asked of it, it would do something terrible."""

        def rollback(self):
            pass

        def __getattr__(self, name):
            raise AssertionError(f"somebody asked for {name}")

    pool = QueuePool(Connection)
    pool._dialect = DefaultDialect()
    with capture(tmp_path) as captured:
        pool.connect().close()
        pool._dialect.do_close = lambda _: None
        pool.dispose()
    assert captured.ends() == ["returned"]
    assert captured.of(Kind.CHECKOUT)[0].backend_pid == 0
