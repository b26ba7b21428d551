"""Guest: the first lines of poolctl's that run inside somebody else's process. Standard library, Python 3.7 and newer.

In: the directory in which the process is to announce itself. Out: capture, as soon as SQLAlchemy is there; lines in
`guests.txt` of that directory that tell how far it came. Loaded by path under a private name: neither `sys.path` nor
the application's own packages are touched, and nothing but poolctl's guest is made importable.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as `typing` has it, which is not worth its import here
if TYPE_CHECKING:
    from typing import Any

OLDEST = (3, 11)
"""The oldest Python that capture runs on."""

IMPORT_S = 8.0
"""How long an attach waits for an import of SQLAlchemy that is under way; less than its reader waits for a word."""

PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def announce(directory: str, event: str, detail: str = "") -> None:
    """Append a line `<pid> <python> <event> <detail>` to guests.txt; nothing happens when it cannot be written."""
    version = ".".join(map(str, sys.version_info[:3]))
    line = f"{os.getpid()} {version} {event} {' '.join(detail.split())[:500]}"
    try:
        fd = os.open(os.path.join(directory, "guests.txt"), os.O_WRONLY | os.O_APPEND)
    except OSError:
        return
    try:
        os.write(fd, (line.rstrip() + "\n").encode("utf-8", "replace"))
    except OSError:
        pass
    finally:
        os.close(fd)


def begin(directory: str, **options: Any) -> None:
    """Start capture now: SQLAlchemy is imported. Whatever goes wrong is announced and goes no further."""
    try:
        if sys.version_info < OLDEST:
            announce(directory, "problem", "capture needs Python 3.11 or newer")
            return
        load_package()
        from poolctl.capture import bootstrap

        bootstrap.start(directory, **options)
        announce(directory, "capturing")
    except Exception as error:
        announce(directory, "problem", f"{type(error).__name__}: {error}")


def begin_with_sqlalchemy(directory: str) -> None:
    """Start capture when the process imports SQLAlchemy; a process that never does is left alone."""
    if "sqlalchemy" in sys.modules:
        begin(directory)
    else:
        announce(directory, "waiting")
        sys.meta_path.insert(0, _Awaited(directory))


def attach(directory: str) -> None:
    """Start capture in a process that runs; on a thread of its own. What it needs is loaded once a process."""
    for name, module in _put_by.items():
        sys.modules.setdefault(name, module)
    if _is_imported_now("sqlalchemy"):  # to import its modules from a second thread would break the first one's import
        import time

        until = time.monotonic() + IMPORT_S
        while _is_imported_now("sqlalchemy"):
            if time.monotonic() > until:
                announce(directory, "problem", "SQLAlchemy is still being imported")
                return
            time.sleep(0.01)
    begin_with_sqlalchemy(directory)


def _is_imported_now(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def detach(directory: str) -> None:
    """End what `attach` began: no hook, no finder and no module of ours is left where the application could meet it."""
    try:
        # A new list: an import that another thread is at the middle of would miss the finder that moves up in the old.
        if any(isinstance(finder, _Awaited) for finder in sys.meta_path):
            sys.meta_path = [finder for finder in sys.meta_path if not isinstance(finder, _Awaited)]
        bootstrap = sys.modules.get("poolctl.capture.bootstrap")
        if bootstrap is not None:
            bootstrap.stop()
        if _loaded:
            for name in [name for name in sys.modules if name == "poolctl" or name.startswith("poolctl.")]:
                _put_by[name] = sys.modules.pop(name)
        announce(directory, "left")
    except Exception as error:
        announce(directory, "problem", f"{type(error).__name__}: {error}")


_loaded: list[str] = []
"""The package, if it was loaded by us and not by the application."""
_put_by: dict[str, Any] = {}
"""Our modules, out of sight between two attaches: loading them anew each time would only leave the old ones behind."""


def load_package() -> None:
    """Make `poolctl` importable from where this file lies, and nothing else from there."""
    import importlib.util

    present = sys.modules.get("poolctl")
    if present is not None:
        theirs = os.path.dirname(os.path.abspath(getattr(present, "__file__", None) or ""))
        if os.path.realpath(theirs) != os.path.realpath(PACKAGE):
            raise RuntimeError("the application has imported another poolctl, from " + theirs)
        return
    spec: Any = importlib.util.spec_from_file_location(
        "poolctl", os.path.join(PACKAGE, "__init__.py"), submodule_search_locations=[PACKAGE]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["poolctl"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop("poolctl", None)
        raise
    _loaded.append(PACKAGE)


class _Awaited:
    """An import finder that lets SQLAlchemy be found as ever, and starts capture once it was executed."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find `sqlalchemy` with the other finders, with a loader that tells us."""
        if name != "sqlalchemy":
            return None
        for finder in list(sys.meta_path):
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                self._tell_when_executed(spec.loader)
                return spec
        return None

    def _tell_when_executed(self, loader: Any) -> None:
        original = getattr(loader, "exec_module", None)

        def exec_module(module: Any) -> None:
            vars(loader).pop("exec_module", None)
            original(module)  # type: ignore[misc] # every loader of today has one; without it nobody calls this
            if self in sys.meta_path:
                sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
                begin(self._directory)

        try:
            loader.exec_module = exec_module
        except Exception:
            announce(self._directory, "problem", f"SQLAlchemy is loaded by a {type(loader).__name__}")
