"""Payload: the few lines that a live process is made to run, to let capture in and to show it out.

In: the path of the guest's first file, the run directory. Out: source for `target.attach_pid`: it never raises, may be
run twice, leaves no name in the application's `__main__`, and does its work on a thread of its own.
"""

from __future__ import annotations

from pathlib import Path

MODULE = "_poolctl_guest"
"""The name under which the guest's first file stays in `sys.modules`."""

_WORK = """
import sys
m = sys.modules.get({module!r})
if m is None:
    import importlib.util as u
    s = u.spec_from_file_location({module!r}, {file!r})
    m = u.module_from_spec(s)
    s.loader.exec_module(m)
    m = sys.modules.setdefault({module!r}, m)
m.{action}({directory!r})
"""

_START = """
try:
    (lambda g: (g.get_original('_thread', 'start_new_thread') if g else __import__('_thread').start_new_thread)(
        exec, ({work!r}, {{'__name__': {module!r}}})))(__import__('sys').modules.get('gevent.monkey'))
except BaseException:
    pass
"""


def source(action: str, guest: Path, directory: Path) -> str:
    """Return source that has the guest do `action` (attach or detach) for that run directory."""
    work = _WORK.format(module=MODULE, file=str(guest), action=action, directory=str(directory))
    return _START.format(work=work, module=MODULE)
