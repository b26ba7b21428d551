"""Uncompiled: stands for Cython's module of the same use where a module runs as it is written, and not compiled.

`poolctl.trace.tail`, `poolctl.capture.state` and `poolctl.capture.core` run at every checkout of somebody else's
service. Where there is a compiler, Cython makes machine code of the very same files (`.build/compile_core.py`, with the
C types that the `.pxd` beside each adds); where there is none, they run as Python, at more than twice the cost.
SQLAlchemy does the same with its own.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

compiled = False
"""Cython puts True in the place of `cython.compiled`."""


def load(*names: str) -> None:
    """Import these modules; as Python where the machine code is there and cannot be used.

    No machine code is loaded from where nothing may be executed, nor a second time into one process: mod_wsgi has an
    interpreter for each application, and SQLAlchemy 2.0 goes on there as Python, too.
    """
    for name in names:
        try:
            import_module(name)
        except ImportError:
            package, _, leaf = name.rpartition(".")
            source = Path(sys.modules[package].__path__[0], f"{leaf}.py")
            spec = spec_from_file_location(name, source)
            if spec is None or spec.loader is None or not source.exists():
                raise
            module = sys.modules[name] = module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
            setattr(sys.modules[package], leaf, module)
