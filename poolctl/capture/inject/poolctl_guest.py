"""Guest: the first lines of poolctl's that run inside somebody else's process. Standard library only, Python 3.6 and up.

In: the directory in which the process is to announce itself. Out: capture, as soon as SQLAlchemy is there; lines in
`guests.txt` of that directory that tell how far it came. Loaded by path under a private name: neither `sys.path` nor
the application's own packages are touched, and nothing but poolctl's guest is made importable.
"""

import os
import sys

OLDEST = (3, 11)
"""The oldest Python that capture runs on."""

PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120


def announce(directory, event, detail=""):
    """Append a line `<pid> <python> <event> <detail>` to guests.txt; nothing happens when it cannot be written."""
    version = ".".join(map(str, sys.version_info[:3]))
    line = "{} {} {} {}".format(os.getpid(), version, event, " ".join(str(detail).split())[:500])
    try:
        fd = os.open(os.path.join(directory, "guests.txt"), os.O_WRONLY | os.O_APPEND)  # noqa: PTH118
    except OSError:
        return
    try:
        os.write(fd, (line.rstrip() + "\n").encode("utf-8", "replace"))
    except OSError:
        pass
    finally:
        os.close(fd)


def begin(directory, **options):
    """Start capture now: SQLAlchemy is imported. Whatever goes wrong is announced and goes no further."""
    try:
        if sys.version_info < OLDEST:
            announce(directory, "problem", "capture needs Python 3.11 or newer")
            return
        _load_package()
        from poolctl.capture import bootstrap

        bootstrap.start(directory, **options)
        announce(directory, "capturing")
    except Exception as error:
        announce(directory, "problem", "{}: {}".format(type(error).__name__, error))


def begin_with_sqlalchemy(directory):
    """Start capture when the process imports SQLAlchemy; a process that never does is left alone."""
    if "sqlalchemy" in sys.modules:
        begin(directory)
    else:
        sys.meta_path.insert(0, _Awaited(directory))


def _load_package():
    """Make `poolctl` importable from where this file lies, and nothing else from there."""
    import importlib.util

    present = sys.modules.get("poolctl")
    if present is not None:
        theirs = os.path.dirname(os.path.abspath(getattr(present, "__file__", None) or ""))  # noqa: PTH100, PTH120
        if os.path.realpath(theirs) != os.path.realpath(PACKAGE):
            raise RuntimeError("the application has imported another poolctl, from " + theirs)
        return
    spec = importlib.util.spec_from_file_location(
        "poolctl", os.path.join(PACKAGE, "__init__.py"), submodule_search_locations=[PACKAGE]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["poolctl"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop("poolctl", None)
        raise


class _Awaited:
    """An import finder that lets SQLAlchemy be found as ever, and starts capture once it was executed."""

    def __init__(self, directory):
        self._directory = directory

    def find_spec(self, name, path=None, target=None):
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

    def _tell_when_executed(self, loader):
        original = getattr(loader, "exec_module", None)

        def exec_module(module):
            vars(loader).pop("exec_module", None)
            original(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                begin(self._directory)

        try:
            loader.exec_module = exec_module
        except Exception:
            announce(self._directory, "problem", "SQLAlchemy is loaded by {}".format(type(loader).__name__))
