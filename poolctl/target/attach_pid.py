"""Attach: run a piece of source in a live CPython process, on its main thread, without a restart.

In: a `Process` and source. Out: the source has been handed over, by `sys.remote_exec` on 3.14 and newer where its
interpreter can be asked, otherwise as a pending call of CPython's: the main thread comes to either between two
bytecodes. Knows nothing of capture.

A main thread that waits for ever (a lock, a socket, a child, a loop with no timer) never comes to them: it is found in
one and the same system call then, and made to run them there.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

from poolctl.clock import NS, monotonic_ns
from poolctl.errors import TargetError
from poolctl.target import debugger, remote_exec
from poolctl.target import process as processes
from poolctl.target.process import Process
from poolctl.target.ptrace import PAGE, Stopped, while_stopped

STUCK_S = 1.0
"""A main thread that was seen in one and the same system call for so long is made to run its pending calls there."""
PATIENCE_S = 10.0
"""How long the process may take altogether."""
KICK_S = 5.0
"""How long it may take to get the interpreter's lock."""
LOOK_S = 0.02
NOTHING = b"0\0"
"""A source that does nothing, but between bytecodes."""


class Foothold:
    """A way to run source in one process, again and again. `leave` gives back what it took."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._page = 0
        self._files: list[Path] = []
        self._pending = False
        """The source may still be read by the process: what it lies in must stay."""

    def run(self, source: str, done: Callable[[], bool]) -> None:
        """Have the process run `source` and wait until `done` says that it did; nothing to do when it says so already.

        Raises TargetError when it may not, or does not in ten seconds. The source must not raise, and it must stand
        being run twice. `done` must be a consequence of this very run: what the source lies in may be given back then.
        """
        if done():
            return
        if self._pending:  # the last one was not seen to run, and may still: its page stays with it for good
            self._page = 0
        self._pending = True
        self._hand_over(source)
        began = since = monotonic_ns()
        syscall = None
        while not done():
            now = monotonic_ns()
            if now - began > PATIENCE_S * NS:
                pid = self.process.pid
                raise TargetError(f"process {pid} is too busy: its main thread runs no Python code", "try again later")
            if (found := self._syscall()) is None or found != syscall:
                syscall, since = found, now
            elif now - since > STUCK_S * NS:
                since = now + int(PATIENCE_S * NS)
                self._stopped(self._kick)
            time.sleep(LOOK_S)
        self._pending = False

    def leave(self) -> None:
        """Give back the page of memory, and the files; a source that may still run keeps them."""
        there = processes.alive(self.process.pid)
        if self._pending and there:
            return
        while self._files:
            self._files.pop().unlink(missing_ok=True)
        page, self._page = self._page, 0
        if page and there:
            self._stopped(lambda stopped: stopped.unmap_page(page))

    def _hand_over(self, source: str) -> None:
        if self.process.version >= remote_exec.OLDEST and (file := remote_exec.remote_exec(self.process, source)):
            self._files.append(file)
            return
        data = source.encode() + b"\0"
        if len(data) > PAGE:
            raise ValueError(f"{len(data)} bytes of source do not fit into a page")

        def add_pending_call(stopped: Stopped) -> None:
            self._page = self._page or stopped.map_page()
            stopped.write(self._page, data)
            where = self.process.addresses
            if stopped.call(where["Py_AddPendingCall"], where["PyRun_SimpleString"], self._page):
                raise TargetError(f"process {self.process.pid} has too many pending calls", "try again")

        self._stopped(add_pending_call)

    def _kick(self, stopped: Stopped) -> None:
        where = self.process.addresses
        if stopped.call(where["PyGILState_Check"]):
            return  # it waits with the interpreter's lock in its hands: nothing of Python's can run
        page = 0
        if self._files:  # remote code is no pending call: only bytecode comes to it
            page = stopped.map_page()
            stopped.write(page, NOTHING)
        state = stopped.call(where["PyGILState_Ensure"], limit_s=KICK_S)
        stopped.call(where["Py_MakePendingCalls"], limit_s=KICK_S)
        if page:
            stopped.call(where["PyRun_SimpleString"], page, limit_s=KICK_S)
        stopped.call(where["PyGILState_Release"], state)
        if page:
            stopped.unmap_page(page)

    def _stopped(self, action: Callable[[Stopped], None]) -> None:
        pid = self.process.pid
        try:
            (while_stopped if platform.machine() == "x86_64" else debugger.while_stopped)(pid, action)
        except PermissionError:
            raise processes.not_permitted(pid, self.process.uid) from None
        except ProcessLookupError:
            raise processes.gone(pid) from None

    def _syscall(self) -> str | None:
        """Return the system call that the main thread is in, with its arguments; None when it runs."""
        try:
            text = Path(f"/proc/{self.process.pid}/syscall").read_text()
        except OSError:
            return None
        return None if text.startswith("running") else text
