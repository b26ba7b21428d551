"""Station: one process's side of a load: the loop, the engine with its pool, capture around it, and the player.

In: a scenario, its tape, a target. Out: the facts of the target, operations under way, results for locust. Its methods
are called from the main thread; all that touches the pool happens on the loop's thread. Knows nothing of locust.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from poolctl.capture import Installed, install
from poolctl.capture.recorder import Recorder
from poolctl.errors import InputError, TargetError
from poolctl.load.loop import LoopThread
from poolctl.load.perform import Performer
from poolctl.load.player import ClosedPlayer, OpenPlayer, Player
from poolctl.load.scenario import Scenario
from poolctl.load.tape import ClosedTape, OpenTape
from poolctl.redact import scrub
from poolctl.target.engine import describe, open_engine
from poolctl.target.spec import TargetSpec
from poolctl.trace.report import TargetInfo

DISPOSE_S = 3.0
"""How long closing the pool may take: a frozen server does not answer."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a station's part of the load ended."""

    operations: int
    skipped: int
    cancelled: int
    """Operations that were still in flight when the drain was over."""


class Station:
    """Open it, play, finish, close."""

    def __init__(
        self,
        scenario: type[Scenario],
        tape: OpenTape | ClosedTape,
        spec: TargetSpec,
        *,
        loop: str,
        directory: Path | None,
    ) -> None:
        self._scenario = scenario
        self._tape = tape
        self._spec = spec
        self._directory = directory
        self._thread = LoopThread(loop)
        self._engine: AsyncEngine | None = None
        self._recorder: Recorder | None = None
        self._installed: Installed | None = None
        self._performer: Performer | None = None
        self._player: Player | None = None

    @property
    def results(self) -> deque[tuple[str, float, BaseException | None]]:
        """What locust's statistics have not been told yet (`Performer.results`)."""
        return self._performer.results if self._performer else deque()

    @property
    def failure(self) -> BaseException | None:
        """What went wrong on the loop that should not have."""
        return self._thread.failure

    def open(self, *, setup: bool) -> TargetInfo:
        """Start the loop, open the engine, run the scenario's set-up, begin capture. Blocks.

        Raises what `open_engine` raises, InputError for a set-up that fails, OutputError for a ring without room.
        """
        self._thread.start()
        return self._thread.submit(self._open(setup=setup)).result()

    def play(self, parts: list[int], of: int, start_at: int) -> None:
        """Play these parts of the tape from `start_at` (monotonic nanoseconds) on; see `Player.play`."""
        self._call(lambda player: player.play(parts, of, start_at))

    def finish(self, drain_s: float) -> Future[Ending]:
        """End the load: the future has its result within about `drain_s` + 2 seconds."""
        return self._thread.submit(self._finish(drain_s))

    def close(self) -> None:
        """Close every connection, take capture off, stop the loop; does not hang, whatever the server does."""
        with contextlib.suppress(Exception):
            self._thread.submit(self._close()).result(DISPOSE_S + 1)
        if self._installed is not None:
            self._installed.remove()
        if self._recorder is not None:
            self._recorder.close()
        self._thread.stop()

    def abandon(self) -> None:
        """Remove what would be left behind when nobody is there any more to read it: the ring."""
        if self._recorder is not None:
            self._recorder.ring_path.unlink(missing_ok=True)

    def _call(self, what: Callable[[Player], None]) -> None:
        player = self._player
        assert player is not None  # noqa: S101 - opened before
        self._thread.loop.call_soon_threadsafe(what, player)

    async def _open(self, *, setup: bool) -> TargetInfo:
        self._engine = await open_engine(self._spec)
        if setup and self._scenario.setup is not None:
            await _set_up(self._scenario, self._engine, self._spec)
        if self._directory is not None:
            self._recorder = Recorder(self._directory)
            self._installed = install(self._recorder)
        self._performer = Performer(self._engine, tuple(self._scenario.transactions), self._recorder)
        if isinstance(self._tape, OpenTape):
            self._player = OpenPlayer(self._tape, self._performer, self._recorder)
        else:
            self._player = ClosedPlayer(self._tape, self._performer, self._recorder)
        self._player.begin_samples()
        return describe(self._engine)

    async def _finish(self, drain_s: float) -> Ending:
        assert self._player is not None  # noqa: S101 - opened before
        assert self._performer is not None  # noqa: S101
        cancelled = await self._player.finish(drain_s)
        return Ending(self._performer.ended, self._player.skipped, cancelled)

    async def _close(self) -> None:
        if self._player is not None:
            self._player.halt()
        if self._engine is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._engine.dispose(), DISPOSE_S)


def set_up(scenario: type[Scenario], spec: TargetSpec) -> None:
    """Run the scenario's set-up on a loop of its own; for a thread without one. Raises TargetError, InputError."""

    async def opened() -> None:
        await _set_up(scenario, await open_engine(spec), spec)

    asyncio.run(opened())


async def _set_up(scenario: type[Scenario], engine: AsyncEngine, spec: TargetSpec) -> None:
    function: Any = scenario.setup
    what = f"the set-up of {scenario.__name__} failed"
    try:
        async with engine.begin() as connection:
            await connection.run_sync(function)
    except (SQLAlchemyError, OSError) as error:
        said = scrub(str(getattr(error, "orig", None) or error), spec.url).partition("\n")[0]
        raise TargetError(f"{what}: {said[:300]}", "check the role's rights and the tables") from None
    except Exception as error:  # noqa: BLE001 - the scenario's own code
        raise InputError(f"{what}: {type(error).__name__}: {error}", "correct the scenario") from None
    finally:
        await engine.dispose()  # the load begins with an empty pool, as after a deployment
