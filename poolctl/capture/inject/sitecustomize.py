"""Put before everything else on PYTHONPATH by `poolctl diagnose -- COMMAND`: capture starts with SQLAlchemy's import.

In: POOLCTL_RUN_DIR. Out: the process as it would have been, the environment's own `sitecustomize` included, with a
finder that waits for SQLAlchemy. Never raises on its own account.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _begin() -> None:
    directory = os.environ.get("POOLCTL_RUN_DIR")
    if directory and os.path.isdir(directory):
        sys.path.insert(0, _HERE)
        try:
            import poolctl_guest as guest  # type: ignore[import-not-found] # it lies beside this file
        finally:
            sys.path.remove(_HERE)
        guest.announce(directory, "started")
        guest.begin_with_sqlalchemy(directory)


def _chain() -> None:
    """Run the `sitecustomize` that this one stands before, as `site` would have."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        from importlib.util import module_from_spec

        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


sys.path[:] = [_entry for _entry in sys.path if os.path.abspath(_entry or os.curdir) != _HERE]
try:
    _begin()
except Exception:  # an application must start as if we were not there
    pass
_chain()
