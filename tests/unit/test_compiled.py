"""What runs at every lease is compiled here, of the sources that are here, and captures what it does as Python."""

from __future__ import annotations

import functools
import json
import operator
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path

import pytest
from interpreted import MODULES

from poolctl.capture.state import blank
from poolctl.trace.events import Flag

SUPPORT = Path(__file__).parents[1] / "support"
APP = SUPPORT / "apps" / "every_end.py"
KINDS = {"REQUEST", "CHECKOUT", "REFUSED", "STATEMENT", "CHECKIN", "CONNECT", "CLOSE", "DETACH", "INVALIDATE"}
"""Which the application's records are of."""


def installed(name: str) -> Path:
    """The file that Python imports, whatever finder these tests have put before its own."""
    spec = PathFinder.find_spec(name, import_module(name.rpartition(".")[0]).__path__)
    assert spec is not None
    return Path(spec.origin)


def is_extension(path: Path) -> bool:
    return path.name.endswith(tuple(EXTENSION_SUFFIXES))


def test_what_is_declared_to_c_is_what_runs_at_every_lease():
    assert MODULES == ["poolctl.capture.core", "poolctl.capture.state", "poolctl.trace.tail"]


@pytest.mark.parametrize("name", MODULES)
def test_where_there_is_a_compiler_ci_tests_the_compiled_form(name):
    if not os.environ.get("POOLCTL_NO_SKIP"):
        pytest.skip("here either form will do (POOLCTL_NO_SKIP is not set)")
    if shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("no C compiler, or no header of Python's")
    assert is_extension(installed(name)), "the build could not compile it: `pip install -v -e .` says why"


@pytest.mark.parametrize("name", MODULES)
def test_an_extension_module_is_not_older_than_its_sources(name):
    extension = installed(name)
    if not is_extension(extension):
        pytest.skip("not compiled here")
    for suffix in (".py", ".pxd"):
        source = extension.with_name(name.rpartition(".")[2] + suffix)
        assert source.stat().st_mtime <= extension.stat().st_mtime, (
            f"Python imports {extension.name} and not the {source.name} beside it, which is newer: "
            "run `pip install -e .` again"
        )


@pytest.mark.parametrize("name", MODULES)
def test_the_form_under_test_is_the_one_that_was_asked_for(name):
    file = Path(import_module(name).__file__)
    assert is_extension(file) == (is_extension(installed(name)) and not os.environ.get("POOLCTL_TEST_UNCOMPILED"))


def test_both_forms_capture_the_same_of_every_end_of_a_lease(tmp_path):
    if not all(is_extension(installed(name)) for name in MODULES):
        pytest.skip("not compiled here")
    said = {}
    for form in ("compiled", "interpreted"):
        directory = tmp_path / form
        directory.mkdir()
        done = subprocess.run(
            [sys.executable, APP, directory, form],
            env={**os.environ, "PYTHONPATH": str(SUPPORT)},
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        said[form] = json.loads(done.stdout)
    assert all(is_extension(Path(file)) for file in said["compiled"]["files"])
    assert not any(is_extension(Path(file)) for file in said["interpreted"]["files"])

    records = said["compiled"]["records"]
    assert {record["kind"] for record in records} == KINDS
    flags = functools.reduce(operator.or_, (Flag(record["flags"]) for record in records))
    assert flags == ~Flag.NONE, "a flag that no record of the application has"
    for one, other in zip(records, said["interpreted"]["records"], strict=True):
        assert one == other


@pytest.mark.parametrize("name", ["record", "meta"])
def test_what_is_not_there_yet_is_an_error_and_no_memory_of_somebody_else_s(name):
    with pytest.raises(AttributeError):
        getattr(blank(), name)
