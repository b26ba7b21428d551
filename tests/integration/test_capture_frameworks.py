"""The endpoint, the task and the trace that ask: names from the frameworks themselves, capture on in this process."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import celery
import flask
import httpx
import pytest
import sqlalchemy as sa
from captured import Captured, capture
from celery.contrib.testing import worker
from fastapi import BackgroundTasks, Depends, FastAPI
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.proxy_fix import ProxyFix

import poolctl
from poolctl.analysis.leases import tables
from poolctl.trace.events import Kind
from poolctl.watch.plan import WatchPlan
from poolctl.watch.session import observe

SELECT = sa.text("select 1")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/data.db")
    yield engine
    engine.dispose()


def use(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        connection.execute(SELECT)
    return "used"


def contexts(captured: Captured) -> list[str]:
    """The name under which each connection was asked for, in order; empty without one."""
    names = captured.names["context"]
    return [names[request.context]["name"] if request.context else "" for request in captured.of(Kind.REQUEST)]


@contextmanager
def nothing_is_left() -> Iterator[None]:
    def state() -> list[object]:
        signals = (celery.signals.task_prerun, celery.signals.task_postrun)
        classes = [vars(Starlette)["__call__"], vars(flask.Flask)["__call__"], vars(flask.Flask)["wsgi_app"]]
        return [*classes, list(sys.meta_path), [list(one.receivers) for one in signals]]

    before = state()
    yield
    assert state() == before


async def ask(app: object, *requests: str) -> list[int]:
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        return [(await client.request(*one.split(" "))).status_code for one in requests]


def test_a_fastapi_endpoint_is_named_by_its_route_sync_async_in_a_dependency_and_in_the_background(
    tmp_path: Path, engine: sa.Engine
) -> None:
    app, inner = FastAPI(), FastAPI()
    app.mount("/inner", inner)
    async_engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/data.db")

    async def session():  # type: ignore[no-untyped-def]
        async with AsyncSession(async_engine) as made:
            yield made

    @app.get("/sync/{number}")
    def sync(number: int) -> str:
        return use(engine)

    @app.post("/async/{number}")
    async def by_session(number: int, asked: AsyncSession = Depends(session)) -> None:  # noqa: B008 - FastAPI's way
        await asked.execute(SELECT)

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> None:
        tasks.add_task(use, engine)

    @inner.get("/deep")
    async def deep() -> str:
        return use(engine)

    @app.middleware("http")
    async def before_the_route_is_known(request, call_next):  # type: ignore[no-untyped-def]
        if request.method == "PUT":
            use(engine)
        return await call_next(request)

    async def main() -> None:
        asked = ("GET /sync/1", "GET /sync/2", "POST /async/3", "GET /background", "GET /inner/deep", "PUT /nothing")
        assert await ask(app, *asked) == [200] * 5 + [404]
        await async_engine.dispose()

    with nothing_is_left(), capture(tmp_path) as captured:
        asyncio.run(main())
        use(engine)
    named = ["GET /sync/{number}"] * 2 + ["POST /async/{number}", "GET /background", "GET /inner/deep", "PUT", ""]
    assert contexts(captured) == named
    assert captured.ends() == ["returned"] * 7


def test_a_starlette_route_is_named_with_where_it_is_mounted(tmp_path: Path, engine: sa.Engine) -> None:
    def endpoint(_: object) -> PlainTextResponse:
        return PlainTextResponse(use(engine))

    app = Starlette(routes=[Mount("/api", routes=[Route("/orders/{number}", endpoint)])])
    with capture(tmp_path) as captured:
        assert asyncio.run(ask(app, "GET /api/orders/7")) == [200]
    assert contexts(captured) == ["GET /api/orders/{number}"]


def test_a_task_that_a_request_leaves_behind_keeps_its_name_and_nothing_of_the_request(
    tmp_path: Path, engine: sa.Engine
) -> None:
    app = FastAPI()
    left: list[asyncio.Task[None]] = []
    requests: list[weakref.ref[object]] = []

    class Noted:
        """Something of the request's."""

    async def later(go_on: asyncio.Event) -> None:
        await go_on.wait()
        use(engine)

    async def main() -> None:
        go_on = asyncio.Event()

        async def noting(scope, receive, send):  # type: ignore[no-untyped-def]
            scope["state"]["noted"] = noted = Noted()
            requests.append(weakref.ref(noted))
            await app({**scope}, receive, send)

        @app.get("/leaves")
        async def leaves() -> None:
            left.append(asyncio.create_task(later(go_on)))

        assert await ask(lambda scope, *rest: noting({**scope, "state": {}}, *rest), "GET /leaves") == [200]
        gc.collect()
        assert requests[0]() is None
        go_on.set()
        await left[0]

    with capture(tmp_path) as captured:
        asyncio.run(main())
    assert contexts(captured) == ["GET /leaves"]


def test_a_flask_view_is_named_by_its_rule(tmp_path: Path, engine: sa.Engine) -> None:
    app = flask.Flask("shop")

    @app.get("/orders/<int:number>")
    def order(number: int) -> str:
        return use(engine)

    @app.teardown_request
    def done(_: object) -> None:
        use(engine)

    with nothing_is_left(), capture(tmp_path) as captured:
        assert app.test_client().get("/orders/7").status_code == 200
        assert app.test_client().get("/nothing").status_code == 404
        use(engine)
    assert contexts(captured) == ["GET /orders/<int:number>"] * 2 + ["GET", ""]


def test_a_flask_application_that_was_in_its_middleware_before_capture_began_is_named_too(
    tmp_path: Path, engine: sa.Engine
) -> None:
    app = flask.Flask("shop")
    app.add_url_rule("/orders/<int:number>", view_func=lambda number: use(engine))
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign] # as Flask's manual says
    with nothing_is_left(), capture(tmp_path) as captured:
        assert app.test_client().get("/orders/7").status_code == 200
    assert contexts(captured) == ["GET /orders/<int:number>"]


def test_a_celery_task_is_named_eager_nested_failed_and_in_a_worker(tmp_path: Path, engine: sa.Engine) -> None:
    app = celery.Celery("shop", broker="memory://", backend="cache+memory://")
    app.conf.update(task_always_eager=False, worker_hijack_root_logger=False)

    @app.task(name="shop.bill")
    def bill() -> str:
        return use(engine)

    @app.task(name="shop.order")
    def order() -> str:
        bill.apply()
        return use(engine)

    @app.task(name="shop.fails")
    def fails() -> None:
        use(engine)
        raise LookupError("nothing there")

    with nothing_is_left(), capture(tmp_path) as captured:
        order.apply()
        fails.apply()
        use(engine)
        with worker.start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
            assert order.delay().get(timeout=60) == "used"
    assert contexts(captured) == ["shop.bill", "shop.order", "shop.fails", "", "shop.bill", "shop.order"]


def test_a_name_of_ones_own_and_the_trace_of_opentelemetry_go_with_the_request(
    tmp_path: Path, engine: sa.Engine
) -> None:
    tracer = TracerProvider().get_tracer("shop")
    asked = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/data.db")

    async def inside(asked: AsyncEngine) -> None:
        async with asked.connect() as connection:
            await connection.execute(SELECT)
        await asyncio.to_thread(use, engine)
        await asked.dispose()

    with capture(tmp_path) as captured:
        with tracer.start_as_current_span("nightly") as span, poolctl.scope("nightly"):
            asyncio.run(inside(asked))
        use(engine)
    assert contexts(captured) == ["nightly", "nightly", ""]
    traces = captured.of(Kind.TRACE)
    ids = {(trace.trace_high << 64) | trace.trace_low for trace in traces}
    assert ids == {span.get_span_context().trace_id}
    assert [trace.lease for trace in traces] == [1, 2]


DATABASE_FIRST = """
import sqlalchemy as sa

engine = sa.create_engine("sqlite:///{path}")

def use():
    with engine.connect() as connection:
        connection.execute(sa.text("select 1"))
    return "used"
"""
LATE = {
    "FastAPI": (
        """
import asyncio
import httpx
from fastapi import FastAPI

app = FastAPI()

@app.get("/sync/{number}")
def sync(number: int):
    return use()

@app.get("/async/{number}")
async def in_the_loop(number: int):
    return use()

async def main():
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        for path in ("/sync/1", "/async/2"):
            assert (await client.get(path)).status_code == 200

asyncio.run(main())
""",
        ["GET /sync/{number}", "GET /async/{number}"],
    ),
    "Flask": (
        """
import flask

app = flask.Flask("shop")
app.add_url_rule("/orders/<int:number>", view_func=lambda number: use())
assert [app.test_client().get(f"/orders/{n}").status_code for n in range(2)] == [200, 200]
""",
        ["GET /orders/<int:number>"] * 2,
    ),
    "Celery": (
        """
import celery

bill = celery.Celery("shop").task(name="shop.bill")(use)
assert [bill.apply().get() for _ in range(2)] == ["used"] * 2
""",
        ["shop.bill"] * 2,
    ),
}


@pytest.mark.parametrize("name", LATE)
def test_an_application_that_imports_sqlalchemy_before_its_framework_has_its_first_request_named(
    tmp_path: Path, name: str
) -> None:
    framework, expected = LATE[name]
    script = tmp_path / "shop.py"
    script.write_text(DATABASE_FIRST.format(path=tmp_path / "data.db") + framework)
    plan = WatchPlan(command=(sys.executable, "-W", "ignore", str(script)), seconds=60, runs_dir=tmp_path / "runs")
    run = observe(plan)
    assert run.read_meta()["end_detail"] == "the command ended with code 0"
    found = tables(run)
    assert list(found.leases["context"]) == expected
    assert found.capture.errors == found.capture.dropped == 0


def test_a_framework_whose_import_was_not_seen_is_met_with_the_next_pool(
    tmp_path: Path, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = sys.modules["flask.app"]
    monkeypatch.delitem(sys.modules, "flask.app")
    app = flask.Flask("late")
    app.add_url_rule("/late", view_func=lambda: use(engine))
    with nothing_is_left(), capture(tmp_path) as captured:
        monkeypatch.setitem(sys.modules, "flask.app", hidden)
        client = threading.Thread(target=lambda: [app.test_client().get("/late") for _ in range(2)])
        client.start()
        client.join()
    assert contexts(captured) == ["", "GET /late"]
