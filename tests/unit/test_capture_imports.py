"""Being told of an import changes nothing about it, and leaves nothing behind."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolctl.capture.imports import Imports


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    finders = list(sys.meta_path)
    (tmp_path / "late_one.py").write_text("import sys\nwhole = True\n")
    (tmp_path / "late_other.py").write_text("whole = True\n")
    (tmp_path / "late_broken.py").write_text("raise LookupError('no')\n")
    yield tmp_path
    for name in ("late_one", "late_other", "late_broken"):
        sys.modules.pop(name, None)
    assert sys.meta_path == finders


def listening(told: list[object]) -> Imports:
    imports = Imports({"late_one", "late_broken"}, lambda: told.append(hasattr(sys.modules.get("late_one"), "whole")))
    imports.listen()
    return imports


def test_it_tells_when_the_module_is_whole_and_its_loader_is_as_it_was(place: Path) -> None:
    told: list[object] = []
    imports = listening(told)
    module = importlib.import_module("late_one")
    imports.remove()
    imports.remove()
    assert told == [True]
    assert module.__spec__ is not None
    assert "exec_module" not in vars(module.__spec__.loader)
    assert module.__spec__.origin == str(place / "late_one.py")


def test_two_that_listen_are_both_told_once_whatever_their_order_of_going(place: Path) -> None:
    first: list[object] = []
    second: list[object] = []
    one, other = listening(first), listening(second)
    module = importlib.import_module("late_one")
    one.remove()
    other.remove()
    assert (first, second) == ([True], [True])
    assert module.__spec__ is not None
    assert "exec_module" not in vars(module.__spec__.loader)


def test_a_module_that_fails_is_not_told_and_fails_as_ever(place: Path) -> None:
    told: list[object] = []
    imports = listening(told)
    with pytest.raises(LookupError):
        importlib.import_module("late_broken")
    imports.remove()
    assert told == []


def test_one_that_is_looked_for_and_not_imported_is_not_told(place: Path) -> None:
    told: list[object] = []
    imports = listening(told)
    assert importlib.util.find_spec("late_one") is not None
    assert importlib.util.find_spec("late_nothing") is None
    imports.remove()
    assert told == []


def test_an_import_that_is_under_way_when_it_goes_misses_no_finder(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = listening([])

    class Meanwhile:
        """Stands before the finder of files, and does what another thread may."""

        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            imports.remove()

    files = sys.meta_path.index(importlib.machinery.PathFinder)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "meta_path", [*sys.meta_path[:files], Meanwhile(), *sys.meta_path[files:]])
        assert importlib.import_module("late_other").whole
    imports.remove()


def test_a_loader_that_is_a_class_of_many_is_left_alone(place: Path) -> None:
    told: list[object] = []
    imports = Imports({"zipimport", "_frozen_importlib"}, lambda: told.append(True))
    imports.listen()
    spec = importlib.machinery.FrozenImporter.find_spec("zipimport")
    assert spec is not None
    before = dict(vars(importlib.machinery.FrozenImporter))
    assert imports.find_spec("zipimport") is not None
    imports.remove()
    assert dict(vars(importlib.machinery.FrozenImporter)) == before
