"""Scenario: what a user writes down, and nothing that runs it.

In: plain functions and a class. Out: `Transaction` and `Scenario`, checked when the file is imported, so that a mistake
is named with its line before anything connects. Knows nothing of the tape, of locust or of processes.

    @transaction(weight=3, product=integers(1, 1000))
    def look(connection, product):
        connection.execute(text("SELECT … WHERE id = :id"), {"id": product})
        think(0.02)

    class Shop(Scenario):
        arrivals = poisson("50/s")
        transactions = (look,)
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, overload

from poolctl.errors import InputError, UsageError
from poolctl.load import bootstrap
from poolctl.load.arrivals import Arrivals, Closed
from poolctl.load.draws import Constant, Draw
from poolctl.units import parse_duration

TAKES = {
    "connection": "connection",
    "conn": "connection",
    "session": "session",
    "db": "session",
    "engine": "engine",
    "Connection": "connection",
    "AsyncConnection": "connection",
    "Session": "session",
    "AsyncSession": "session",
    "Engine": "engine",
    "AsyncEngine": "engine",
}
"""What a transaction wants, by the class its first parameter is annotated with, or by that parameter's name."""


@dataclass(frozen=True, eq=False)
class Transaction:
    """One kind of work: a function, how often it comes, and where its parameters come from."""

    function: Callable[..., Any]
    """Called with a connection (session, engine) and the parameters. Committed when it returns, rolled back when it
    raises; with an engine it does both itself."""
    name: str
    weight: float
    """Its share, relative to the other transactions of the scenario."""
    parameters: dict[str, Draw]
    takes: str
    """connection | session | engine."""
    native: bool
    """`async def`: gets the async twin of what it takes."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as tests of a scenario do."""
        return self.function(*args, **kwargs)

    @cached_property
    def site(self) -> tuple[str, int, str]:
        """File, line of the `def`, and name: where its connections are asked for, as far as the user is concerned."""
        code = self.function.__code__
        try:
            lines, first = inspect.getsourcelines(self.function)
        except OSError:
            lines, first = [], code.co_firstlineno
        offset = next((i for i, line in enumerate(lines) if line.lstrip().startswith(("def ", "async def "))), 0)
        return code.co_filename, first + offset, code.co_qualname

    @property
    def thinks(self) -> bool:
        """Whether it thinks while it holds a connection, as far as its code tells."""
        return bool({"think", "sleep"} & set(self.function.__code__.co_names))


@overload
def transaction(function: Callable[..., Any], /) -> Transaction: ...
@overload
def transaction(
    *, weight: float = 1, name: str | None = None, **parameters: Any
) -> Callable[[Callable[..., Any]], Transaction]: ...
def transaction(
    function: Callable[..., Any] | None = None, /, *, weight: float = 1, name: str | None = None, **parameters: Any
) -> Any:
    """Make a transaction of a function, bare or with its weight and its parameters: draws, or values that stay.

    Raises InputError, with file and line, when the function does not take what is declared.
    """

    def decorate(function: Callable[..., Any]) -> Transaction:
        return _build(function, weight, name or function.__code__.co_name, parameters)

    return decorate(function) if function is not None else decorate


class Scenario:
    """A workload: subclass it, set `arrivals` and `transactions`, and the rest as needed. It is never instantiated."""

    arrivals: ClassVar[Arrivals | Closed]
    """When work comes: `poisson`, `on_off`, `ramp`, `batch_of`, `from_file`, or `closed`."""
    transactions: ClassVar[Sequence[Transaction]]
    """What is done, by weight."""
    objectives: ClassVar[Sequence[str]] = ()
    """What must hold, as in `p95 wait < 50ms`; `--slo` replaces them."""
    duration: ClassVar[float | str] = 60.0
    """How long, unless `--duration` says otherwise."""
    setup: ClassVar[Callable[[Any], None] | None] = None
    """Called once with a Connection before the load, inside a transaction; must be harmless when called again."""
    writes: ClassVar[bool] = False
    """Transactions change data: on a database that is not poolctl's own only with `--allow-writes`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        arrivals, transactions = getattr(cls, "arrivals", None), getattr(cls, "transactions", None)
        if arrivals is None and transactions is None:
            return  # a base for other scenarios
        file, line = _where(cls)
        if not isinstance(arrivals, Arrivals | Closed):
            raise InputError(
                f"{file}:{line}: scenario {cls.__name__} has no arrivals", 'add `arrivals = poisson("50/s")`'
            )
        if not transactions or not all(isinstance(one, Transaction) for one in transactions):
            raise InputError(
                f"{file}:{line}: scenario {cls.__name__} needs transactions",
                "decorate functions with @transaction and list them: `transactions = (look, buy)`",
            )
        names = [one.name for one in transactions]
        if len(set(names)) < len(names) or sum(one.weight for one in transactions) <= 0:
            raise InputError(
                f"{file}:{line}: scenario {cls.__name__}: transactions need different names and a weight above 0",
                "give one of them `@transaction(name=…)` or a weight",
            )
        parse_duration(cls.duration, f"{cls.__name__}.duration")
        if isinstance(cls.__dict__.get("objectives"), str):
            cls.objectives = (cls.__dict__["objectives"],)
        if bootstrap.under_locust():
            from poolctl.load.swarm import publish

            publish(cls)


def think(seconds: float | str) -> None:
    """Wait as an application would that computes or calls something else; what is held stays held.

    Awaits where poolctl runs the transaction on an event loop, sleeps in a thread. In an `async def` transaction it
    raises UsageError: there it would block the loop, and `await asyncio.sleep(…)` does the same.
    """
    time_s = parse_duration(seconds, "think()")
    if _in_greenlet():
        from sqlalchemy.util import await_only

        await_only(asyncio.sleep(time_s))
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        time.sleep(time_s)
        return
    raise UsageError("think() would block the event loop here", "in an `async def` write `await asyncio.sleep(…)`")


def _in_greenlet() -> bool:
    """Return whether SQLAlchemy's run_sync (greenlet_spawn) is below us, as its own `in_greenlet` does (2.0.25+)."""
    greenlet: Any = sys.modules.get("greenlet")
    return greenlet is not None and bool(getattr(greenlet.getcurrent(), "__sqlalchemy_greenlet_provider__", False))


def _build(function: Callable[..., Any], weight: float, name: str, parameters: dict[str, Any]) -> Transaction:
    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}: transaction {name}"
    if weight < 0:
        raise InputError(f"{where}: weight {weight} is below 0", "give 0 to switch it off")
    declared = list(inspect.signature(function).parameters.values())
    if not declared:
        raise InputError(f"{where} takes nothing", "its first parameter is the connection")
    first, rest = declared[0], declared[1:]
    annotation = first.annotation if isinstance(first.annotation, str) else getattr(first.annotation, "__name__", "")
    takes = TAKES.get(annotation.rpartition(".")[2]) or TAKES.get(first.name)
    if takes is None:
        raise InputError(
            f"{where}: cannot tell what its first parameter {first.name!r} is",
            "call it connection, session or engine, or annotate it with SQLAlchemy's class",
        )
    known = {one.name for one in rest}
    missing = [one.name for one in rest if one.name not in parameters and one.default is one.empty]
    if missing or set(parameters) - known:
        wrong = ", ".join(missing or sorted(set(parameters) - known))
        raise InputError(
            f"{where}: {'no value for' if missing else 'the function does not take'} {wrong}",
            "declare each parameter in @transaction(…) and take it in the function",
        )
    draws = {key: value if isinstance(value, Draw) else Constant(value) for key, value in parameters.items()}
    return Transaction(function, name, float(weight), draws, takes, inspect.iscoroutinefunction(function))


def _where(cls: type) -> tuple[str, int]:
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None) or "?"
    try:
        return file, inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        return file, 1
