"""Install: puts the hooks on SQLAlchemy's classes, and takes them off again without a trace.

In: a `Recorder`. Out: an `Installed` whose `remove()` puts back every attribute that is still ours. What is missing in
this version of SQLAlchemy is left out, and told (`recorder.blind`).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any

import sqlalchemy.engine.cursor
import sqlalchemy.pool.base
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import Pool

from poolctl.capture import connection_hooks, hooks, return_hooks, sql_hooks
from poolctl.capture.frameworks import Frameworks
from poolctl.capture.recorder import Recorder
from poolctl.capture.watch import Watch

_POOL: dict[str, tuple[hooks.Wrap, str]] = {
    "connect": (hooks.connect, "requests"),
    "_do_get": (hooks.do_get, "the wait for a slot (it counts as part of the acquire time only)"),
    "_return_conn": (return_hooks.return_record, "returns"),
    "_close_connection": (connection_hooks.close_connection, "the closing of connections"),
}
_RECORD: dict[str, tuple[hooks.Wrap, str]] = {
    "_ConnectionRecord__connect": (connection_hooks.connect_record, "the opening of connections"),
    "invalidate": (connection_hooks.invalidate_record, "invalidations"),
}
_FAIRY: dict[str, tuple[hooks.Wrap, str]] = {"detach": (connection_hooks.detach, "detached connections")}
_MODULE: dict[str, tuple[hooks.Wrap, str]] = {
    "_finalize_fairy": (return_hooks.finalize, "abandoned connections and the length of resets")
}
_DIALECT: dict[str, tuple[hooks.Wrap, str]] = {
    "do_execute": (sql_hooks.execute, "statements"),
    "do_executemany": (sql_hooks.execute, "statements with many parameters"),
    "do_execute_no_params": (sql_hooks.execute_no_params, "statements without parameters"),
    "do_commit": (sql_hooks.end_transaction, "commits"),
    "do_rollback": (sql_hooks.end_transaction, "rollbacks"),
}
_PLAIN_GETS = {"NullPool", "StaticPool", "SingletonThreadPool", "AssertionPool"}
"""Pools that have no queue: their `_do_get` opens a connection or hands out the one they have."""


class Installed:
    """The hooks, in place. Made by `install`."""

    def __init__(self, recorder: Recorder, only: Callable[[Any], bool] | None = None) -> None:
        self.recorder = recorder
        self.watch = Watch(recorder, only)
        self.watch.on_new_pool.append(self._extend)
        self._unlock()
        recorder.forked.append(self._unlock)
        self._ours: list[tuple[Any, str, Any, Any]] = []
        self._seen: set[type] = set()
        base = sqlalchemy.pool.base
        self._cover(base, _MODULE)
        self._cover(getattr(base, "_ConnectionRecord", None), _RECORD)
        self._cover(getattr(base, "_ConnectionFairy", None), _FAIRY)
        self._extend_tree(Pool, _POOL)
        self._extend_tree(DefaultDialect, _DIALECT | _ping_hook())
        for strategy, method in _fetches():
            self._put(strategy, method, sql_hooks.fetch)
        self._frameworks = Frameworks(self._put, self._look_for_frameworks)
        self._frameworks.listen()
        self.watch.on_new_pool.append(self._look_for_frameworks)
        self.watch.on_sample.append(self._look_for_frameworks)
        self._look_for_frameworks()
        recorder.tell_blind(
            "rows fetched one at a time from a cursor the driver does not buffer count as idle in hold",
            "statements sent through a raw DBAPI cursor count as idle in hold",
        )

    def remove(self) -> None:
        """Put back every attribute that still is our wrapper; one that somebody wrapped after us stays, and is idle."""
        with self._lock:
            self._frameworks.remove()
            for owner, name, original, ours in reversed(self._ours):
                if vars(owner).get(name) is ours:
                    setattr(owner, name, original)
            self._ours.clear()
            self.watch.stop()

    def _unlock(self) -> None:
        """Whoever holds the lock is not here: in a forked child only the thread that forked is."""
        self._lock = RLock()

    def _extend(self, pool: Any) -> None:
        """A pool was met: its class, or its dialect's, may have been made after the hooks."""
        if type(pool) not in self._seen or type(pool._dialect) not in self._seen:
            self._extend_tree(Pool, _POOL)
            self._extend_tree(DefaultDialect, _DIALECT | _ping_hook())

    def _look_for_frameworks(self, _: Any = None) -> None:
        """One may be imported later than SQLAlchemy is: it tells, unless its import could not be seen."""
        try:
            with self._lock:
                self._frameworks.look()
        except Exception:
            self.recorder.count_error()

    def _extend_tree(self, root: type, wanted: dict[str, tuple[hooks.Wrap, str]]) -> None:
        with self._lock:
            for owner in _tree(root):
                if owner in self._seen:
                    continue
                self._seen.add(owner)
                if owner is root:
                    self._cover(owner, {name: hook for name, hook in wanted.items() if name != "_do_get"})
                    continue
                for name, (hook, _) in wanted.items():
                    if isinstance(vars(owner).get(name), types.FunctionType) and not (
                        name == "_do_get" and owner.__name__ in _PLAIN_GETS
                    ):
                        singleton = name == "connect" and owner.__name__ == "SingletonThreadPool"
                        self._put(owner, name, hooks.connect_singleton if singleton else hook)

    def _cover(self, owner: Any, wanted: dict[str, tuple[hooks.Wrap, str]]) -> None:
        for name, (hook, what) in wanted.items():
            if owner is not None and isinstance(vars(owner).get(name), types.FunctionType):
                self._put(owner, name, hook)
            else:
                self.recorder.tell_blind(f"this SQLAlchemy has no {name} to watch: {what} cannot be told")

    def _put(self, owner: Any, name: str, hook: hooks.Wrap) -> None:
        original = vars(owner)[name]
        ours = hook(self.watch, original, owner)
        ours.__name__, ours.__qualname__, ours.__doc__ = original.__name__, original.__qualname__, original.__doc__
        ours.__wrapped__ = original  # type: ignore[attr-defined] # where functools.wraps puts it
        setattr(owner, name, ours)
        self._ours.append((owner, name, original, ours))


def install(recorder: Recorder, *, only: Callable[[Any], bool] | None = None) -> Installed:
    """Watch every pool of this process, those that exist and those to come; `only(pool)` says which, where given."""
    return Installed(recorder, only)


def _tree(root: type) -> Iterator[type]:
    yield root
    children: list[type] = root.__subclasses__()
    for child in children:
        yield from _tree(child)


def _ping_hook() -> dict[str, tuple[hooks.Wrap, str]]:
    """Return the hook for the ping: 2.0.0 has no `_do_ping_w_event`."""
    name = "_do_ping_w_event" if hasattr(DefaultDialect, "_do_ping_w_event") else "do_ping"
    return {name: (connection_hooks.ping, "pings")}


def _fetches() -> Iterator[tuple[type, str]]:
    """Yield the methods by which a result fetches many rows at once."""
    for name in ("CursorFetchStrategy", "BufferedRowCursorFetchStrategy"):
        strategy = getattr(sqlalchemy.engine.cursor, name, None)
        for method in ("fetchmany", "fetchall", "_buffer_rows"):
            if strategy is not None and isinstance(vars(strategy).get(method), types.FunctionType):
                yield strategy, method
