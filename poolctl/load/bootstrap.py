"""How this process stands to locust: started by its command, or not, and never with a patched standard library.

In: nothing. Out: the process itself, re-executed unpatched where `locust -f` started it patched. The pool has to live
on real threads: patched, an asyncio loop waits 26–39 % longer for connections and a uvloop freezes locust.
Runs at the first import of `poolctl.load`; imports neither locust nor gevent, only looks at what is loaded.
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any

from poolctl.errors import UsageError

UNPATCHED = "LOCUST_SKIP_MONKEY_PATCH"
"""locust leaves the standard library alone when this environment variable is set."""


def under_locust() -> bool:
    """Return whether the `locust` command is running this process."""
    program = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119 - before any import that costs
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    started = program in ("locust", "locust.exe") or getattr(main, "name", "") == "locust.__main__"
    return "locust.main" in sys.modules and started


def run_unpatched() -> None:
    """Start this process again without gevent's patches, if the `locust` command patched it.

    Raises UsageError where it is patched for another reason: nobody but the user can undo that.
    """
    if _patched():
        if os.environ.get(UNPATCHED):
            raise UsageError(
                f"the standard library is patched by gevent although {UNPATCHED} is set",
                "remove gevent.monkey.patch_all() from the files that are imported before the scenario",
            )
        if not under_locust():
            raise UsageError(
                "the standard library is patched by gevent: pools behave differently on patched threads",
                f"set {UNPATCHED}=1 before locust is imported, or run the scenario with `poolctl loadtest`",
            )
        os.environ[UNPATCHED] = "1"
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line, again
    elif under_locust():
        _mend_locust_main()


def _patched() -> bool:
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _mend_locust_main() -> None:
    """Give locust's command the gevent versions of two calls that it expects patching to have replaced.

    Unpatched, `time.sleep(1)` in locust.main blocks the hub that should see the workers connect, and `os.waitpid`
    finds its children already reaped by gevent's watcher (locust 2.32–2.47).
    """
    import gevent
    import gevent.os

    main: Any = sys.modules["locust.main"]
    handler: Any = sys.modules.get("locust.util.exception_handler")
    main.time = _copy(main.time, sleep=gevent.sleep)
    main.os = _copy(main.os, waitpid=gevent.os.waitpid)
    if handler is not None:
        handler.time = _copy(handler.time, sleep=gevent.sleep)


def _copy(module: Any, **replaced: Any) -> types.ModuleType:
    copy = types.ModuleType(module.__name__)
    copy.__dict__.update({**vars(module), **replaced})
    return copy
