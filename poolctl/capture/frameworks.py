"""Frameworks: what an application is doing when it asks, in its framework's words: the endpoint, or the task.

In: Starlette (FastAPI), Flask and Celery, as soon as the application has imported them; never imported by us. Out: a
scope (`capture.scope`) around each request and task. A route is known only once it was matched, so its name is looked
for when a connection is asked for. Requests that were under way when capture began have none. Standard library only.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, MutableMapping
from contextvars import Token
from typing import Any

from poolctl.capture.imports import Imports
from poolctl.capture.scope import current, scope
from poolctl.capture.watch import Watch

Put = Callable[[Any, str, Callable[[Watch, Callable[..., Any], Any], Callable[..., Any]]], None]
_RUNNING = 10_000
"""Tasks remembered at most: one whose process was killed in the middle never says that it ended."""


class Frameworks:
    """What is done to the frameworks of this process. `put` puts a wrapper on a class, and takes it off in the end.

    `imported` is called when one was imported, before its first request can come; it is to call `look`. So should
    others do now and then: not every import can be seen.
    """

    def __init__(self, put: Put, imported: Callable[[], None]) -> None:
        self._put = put
        self._awaited: dict[str, Callable[[Any], bool]] = {
            "starlette.applications": self._starlette,
            "flask.app": self._flask,
            "celery.signals": self._celery,
        }
        self._signals: list[tuple[Any, Any]] = []
        self._imports = Imports(self._awaited, imported)

    def listen(self) -> None:
        """Be told of imports from now on."""
        self._imports.listen()

    def look(self) -> None:
        """See whether one was imported meanwhile."""
        for name in list(self._awaited):
            module = sys.modules.get(name)
            if module is not None and self._awaited[name](module):
                self._awaited.pop(name, None)
        if not self._awaited:
            self._imports.remove()

    def remove(self) -> None:
        """Leave Celery's signals; the wrappers are `put`'s."""
        self._imports.remove()
        self._awaited.clear()
        for signal, receiver in self._signals:
            signal.disconnect(receiver)
        self._signals.clear()

    def _starlette(self, module: Any) -> bool:
        owner = getattr(module, "Starlette", None)  # None: it is being imported just now
        if owner is not None:
            self._put(owner, "__call__", asgi)
        return owner is not None

    def _flask(self, module: Any) -> bool:
        owner = getattr(module, "Flask", None)
        if owner is not None:  # either may be passed by: middleware keeps a `wsgi_app` of before, or calls it only
            for name in ("__call__", "wsgi_app"):
                if name in vars(owner):
                    self._put(owner, name, wsgi)
        return owner is not None

    def _celery(self, module: Any) -> bool:
        if not hasattr(module, "task_postrun"):
            return False
        begun, ended = _task_receivers()
        self._signals += [(module.task_prerun, begun), (module.task_postrun, ended)]
        for signal, receiver in self._signals:
            signal.connect(receiver, weak=False)
        return True


class Endpoint(scope):
    """A request that is being served; its name is that of the route that was matched, if one was by then."""

    __slots__ = ("_known", "_look")

    def __init__(self, look: Callable[[], str]) -> None:
        self.site = None
        self.intended_at = self.item = self.client = 0
        self._token = None
        self._look: Callable[[], str] | None = look
        self._known = ""

    @property
    def name(self) -> str:  # type: ignore[override] # it becomes known while the scope lasts
        """The method and the route (`GET /orders/{number}`); without a route yet, the method alone."""
        if self._look is not None:
            try:
                self._known = self._look()
            except Exception:  # not matched, or a framework that changed: what was known stays
                self._known = self._known or "request"
        return self._known

    def close(self) -> None:
        """Let go of the request: tasks that it left behind keep this scope, and only its name."""
        _ = self.name
        self._look = None


def asgi(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`Starlette.__call__`, which FastAPI's comes to: requests, websockets, and the lifespan of the application."""

    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        if watch.stopped:
            await original(self, scope, receive, send)
            return
        endpoint = Endpoint(lambda: _route(scope))
        token = current.set(endpoint)
        try:
            await original(self, scope, receive, send)
        finally:
            _leave(token)
            endpoint.close()

    return call


def wsgi(watch: Watch, original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """`Flask.__call__` and `Flask.wsgi_app`, which it calls, with the application's middleware in between."""

    def wsgi_app(self: Any, environ: Any, start_response: Any) -> Any:
        if watch.stopped or getattr(current.get(), "_look", None) is _rule:
            return original(self, environ, start_response)
        endpoint = Endpoint(_rule)
        token = current.set(endpoint)
        try:
            return original(self, environ, start_response)
        finally:
            _leave(token)
            endpoint.close()

    return wsgi_app


def _route(asgi_scope: MutableMapping[str, Any]) -> str:
    method = asgi_scope.get("method") or asgi_scope["type"]
    route = asgi_scope.get("route")
    if route is None:
        return str(method)
    mounted = asgi_scope.get("root_path", "")[len(asgi_scope.get("app_root_path", "")) :]
    return f"{method} {mounted}{route.path}"


def _rule() -> str:
    request = sys.modules["flask"].request
    return f"{request.method} {request.url_rule.rule}" if request.url_rule is not None else str(request.method)


def _task_receivers() -> tuple[Callable[..., None], Callable[..., None]]:
    """Return what is to be told when a task begins and when it has ended. Eager tasks run inside of others."""
    running: dict[Any, Token[Any]] = {}

    def begun(task_id: Any = None, task: Any = None, **_: Any) -> None:
        if len(running) < _RUNNING:
            running[task_id] = current.set(scope(str(task.name)))

    def ended(task_id: Any = None, **_: Any) -> None:
        token = running.pop(task_id, None)
        if token is not None:
            _leave(token)

    return begun, ended


def _leave(token: Token[Any]) -> None:
    with contextlib.suppress(ValueError):  # it ends in another context than it began in: nobody is in the scope there
        current.reset(token)
