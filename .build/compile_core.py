"""Compile core: the hook of the build that makes machine code of the few modules that run at every checkout.

In: the checkout. Out: extension modules, beside their sources for an editable install, else in the wheel; all of them
or none, for a compiled module calls another in C. Where there is no compiler, or no header of Python's, the build says
so and goes on: the same modules run as Python. Other Pythons' extension modules are left alone.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = ("poolctl.trace.tail", "poolctl.capture.state", "poolctl.capture.core")
"""See `poolctl.uncompiled`."""
DIRECTIVES = {
    "language_level": "3",
    "annotation_typing": False,  # the types for C are those of the .pxd
    "binding": False,  # a plain C function is the one that Python calls fastest
    "embedsignature": False,
    "nonecheck": True,  # what is missing must be an error here, too: errors are counted, crashes are the application's
    "boundscheck": False,
    "wraparound": False,
}
FLAGS = ("-O2", "-g0")
"""Small code: in an application what is called once between two answers of the database is found in no cache."""


class CompileCore(BuildHookInterface):  # type: ignore[misc]
    """Found by hatchling, by its base."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tell hatchling what there is more to take in."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        built = Path(tempfile.mkdtemp(prefix="poolctl-build-"))
        atexit.register(shutil.rmtree, built, ignore_errors=True)  # what is in it is read after this has returned
        compiled = False
        try:
            _may_be_compiled()
            _compile(root, built)
            compiled = True
        except (Exception, SystemExit) as error:
            sys.stderr.write(f"capture is not compiled here, and will cost more than twice as much: {error}\n")
        if version == "editable":
            for name in MODULES:
                (root / _file(name)).unlink(missing_ok=True)  # an old one would be found before the source
                if compiled:
                    shutil.copy(built / _file(name), root / _file(name))
        elif compiled:
            build_data["force_include"].update({str(built / _file(name)): _file(name) for name in MODULES})
            build_data.update(pure_python=False, infer_tag=True)


def _may_be_compiled() -> None:
    if os.environ.get("POOLCTL_UNCOMPILED"):
        raise RuntimeError("POOLCTL_UNCOMPILED is set")
    if sys.platform != "linux" or sys.implementation.name != "cpython":  # its clock, and its frames
        raise RuntimeError("only for CPython on Linux")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):  # importing it would give the application its GIL back
        raise RuntimeError("not for a Python without GIL")


def _file(name: str) -> str:
    """Return where an extension module goes, as setuptools names it too."""
    return name.replace(".", "/") + sysconfig.get_config_var("EXT_SUFFIX")


def _compile(root: Path, into: Path) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    before = Path.cwd()
    os.chdir(root)  # where Cython finds the package that a module is of
    try:
        extensions = cythonize(
            [Extension(name, [f"{name.replace('.', '/')}.py"], extra_compile_args=list(FLAGS)) for name in MODULES],
            build_dir=str(into / "c"),
            compiler_directives=DIRECTIVES,
            force=True,
            quiet=True,
        )
        command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(into), str(into / "o")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
