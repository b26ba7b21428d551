"""ServerWatch: the database server seen from beside the load.

In: a TargetSpec. Out: what the server is (`probe`) and its sessions at an instant (`sample`), on a connection of its
own that is never a part of the pool under test; and, as a TargetError, that the server is gone. It lives on a thread
and an event loop of its own, so that any plain thread may ask. Knows nothing of the load.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy.engine import Connection

from poolctl.errors import TargetError
from poolctl.redact import scrub
from poolctl.target import failures, probes
from poolctl.target.beside import Beside
from poolctl.target.engine import CONNECT_S
from poolctl.target.spec import TargetSpec
from poolctl.trace.report import ServerInfo

ANSWER_S = 10.0
"""A server that leaves a question about its sessions unanswered for so long counts as lost."""

GRACE_S = 3.0
"""A server that takes no connection for so long counts as lost. PostgreSQL restarts itself within it after a crash of
one backend, which is not a loss."""

RETRY_S = 0.25

Answer = TypeVar("Answer")


class ServerWatch:
    """Use it as a context manager, or `close` it. Methods block the calling thread, never an event loop of its own.

    The connection is opened with the first question; `probe` before the load starts, so that the watcher is not
    the one that finds all connections taken.
    """

    def __init__(
        self, spec: TargetSpec, *, answer_s: float = ANSWER_S, grace_s: float = GRACE_S, enduring: bool = False
    ) -> None:
        self.blind: list[str] = []
        """What this role or this server does not show, one line each."""
        self.lost: TargetError | None = None
        """The loss of the server, once it was seen."""
        self.connects = 0
        """How often it had to connect: more than once means that the server dropped it."""
        self._spec = spec
        self._answer_s = answer_s
        self._grace_s = grace_s
        self._enduring = enduring
        self._turn = asyncio.Lock()
        self._beside = Beside(spec)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="poolctl-server-watch", daemon=True)
        self._thread.start()

    def __enter__(self) -> ServerWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def probe(self) -> ServerInfo:
        """Return what the server is. Raises TargetError when it cannot be reached."""
        return self._ask(self._answer(probes.server_info, 0.0)) or ServerInfo()

    def sample(self) -> dict[str, Any] | None:
        """Return the server's sessions now (keys: `probing.empty_sample`); None when there is nothing to see.

        Raises TargetError when the server is lost, each time from then on, unless the watch is an enduring one.
        """
        if self.lost is not None and not self._enduring:
            raise self.lost
        try:
            sample = self._ask(self._answer(probes.sessions, self._grace_s))
        except TargetError as error:
            self.lost = TargetError(
                f"the server was lost: {error.message}", "look into its log; the run so far is kept"
            )
            raise self.lost from None
        if sample is not None:
            sample["connects"] = self.connects
            for line in sample.pop("unseen", ()):
                self._add_blind(line)
            if sample["hidden"]:
                self._add_blind(probes.HIDDEN)
        return sample

    def close(self) -> None:
        """Close the connection and end the thread; does nothing the second time."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(Exception):
            self._ask(self._beside.dispose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _ask(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        future = asyncio.run_coroutine_threadsafe(question, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _answer(self, question: Callable[[Connection], Answer], grace_s: float) -> Answer | None:
        """Ask on the open connection; when it is gone, on new ones until `grace_s` passed. None: cannot be seen."""
        give_up_at: float | None = None
        while True:
            async with self._turn:  # one connection answers one question at a time
                connected = self._beside.connected
                try:
                    if not connected:
                        await self._beside.connect(min(CONNECT_S, self._answer_s))
                        self.connects, connected = self.connects + 1, True
                    return await asyncio.wait_for(self._beside.ask(question), self._answer_s)
                except Exception as error:  # noqa: BLE001 - drivers raise what they like; all is explained or counted
                    await self._beside.disconnect()
                    reason = failures.explain(error, self._spec.shown, self._spec.url)
                    if not isinstance(reason, TargetError):
                        raise reason from None
                    if connected and not failures.is_connection_loss(error):
                        self._add_blind(f"the server's sessions: {scrub(str(error), self._spec.url)[:200]}")
                        return None
                    if grace_s and failures.is_busy(error):
                        return None  # it answers: its connections are all taken, which is what a load test may do
            give_up_at = self._loop.time() + grace_s if give_up_at is None else give_up_at
            if self._loop.time() >= give_up_at:
                raise reason
            await asyncio.sleep(RETRY_S)

    def _add_blind(self, line: str) -> None:
        if line not in self.blind:
            self.blind.append(line)
