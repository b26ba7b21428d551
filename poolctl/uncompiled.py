"""Uncompiled: stands for Cython's module of the same use where a module runs as it is written, and not compiled.

`poolctl.trace.tail`, `poolctl.capture.state` and `poolctl.capture.core` run at every checkout of somebody else's
service. Where there is a compiler, Cython makes machine code of the very same files (`.build/compile_core.py`, with the
C types that the `.pxd` beside each adds); where there is none, they run as Python, at about twice the cost. SQLAlchemy
does the same with its own.
"""

compiled = False
"""Cython puts True in the place of `cython.compiled`."""
