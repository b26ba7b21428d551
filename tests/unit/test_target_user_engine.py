"""`--engine module:attribute` finds an application's engine, or says in one line why it does not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolctl.errors import UsageError
from poolctl.target.user_engine import find

MADE = "from sqlalchemy.ext.asyncio import create_async_engine\nengine = create_async_engine('sqlite+aiosqlite://')\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; what was imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def write(here: Path, text: str, name: str = "their_app.py") -> None:
    path = here / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("attribute", ["engine", "make", "make_async", "holder.engine", "Holder", "later"])
def test_an_engine_is_found_as_attribute_function_or_coroutine_function(here: Path, attribute: str) -> None:
    write(
        here,
        MADE + "def make():\n    return engine\nasync def make_async():\n    return engine\n"
        "class Holder:\n    def __new__(cls):\n        return engine\n"
        "def later(url='x', *, echo=False):\n    return make_async()\n"
        "class holder:\n    engine = engine\n",
    )
    found = asyncio.run(find(f"their_app:{attribute}"))
    assert found is sys.modules["their_app"].engine


def test_a_module_inside_a_package_is_found(here: Path) -> None:
    write(here, MADE, "their_package/db.py")
    assert asyncio.run(find("their_package.db:engine"))


def refused(path: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        asyncio.run(find(path))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    "path", ["their_app", "their_app:", ":engine", "their-app:engine", "their_app:engine()", "a.:b"]
)
def test_a_text_of_another_form_is_refused(path: str) -> None:
    assert "not of the form module:attribute" in refused(path).message


def test_a_missing_module_is_named_with_the_place_that_was_searched(here: Path) -> None:
    assert f"no module named 'nowhere', seen from {here}" in refused("nowhere:engine").message
    write(here, "", "their_other/__init__.py")
    assert "no module named 'their_other.db'" in refused("their_other.db:engine").message


def test_a_missing_attribute_names_the_nearest(here: Path) -> None:
    write(here, MADE)
    error = refused("their_app:engin")
    assert "'their_app' has no 'engin'" in error.message
    assert error.hint == "did you mean 'engine'?"
    assert refused("their_app:zzz").hint == "its async engines are: engine"


def test_a_failing_import_is_shown_at_their_line(here: Path) -> None:
    write(here, "\nimport nowhere_to_be_found\n")
    assert f"{here}/their_app.py:2: ModuleNotFoundError: No module" in refused("their_app:engine").message
    write(here, "x = 1\ny = = 2\n", "their_broken.py")
    assert f"{here}/their_broken.py:2: SyntaxError: invalid syntax" in refused("their_broken:engine").message
    write(here, "import os\nos.environ['NOT_SET_ANYWHERE']\n", "their_unset.py")
    assert f"{here}/their_unset.py:2: KeyError" in refused("their_unset:engine").message
    write(here, "raise SystemExit(3)\n", "their_exit.py")
    assert "SystemExit: 3" in refused("their_exit:engine").message


def test_a_failing_function_is_shown_at_its_line_without_secrets(here: Path) -> None:
    write(here, "def make():\n    raise ValueError('bad postgresql://u:secret@h/db')\n")
    error = refused("their_app:make")
    assert f"calling it failed at {here}/their_app.py:2: ValueError: bad postgresql://u:***@h/db" in error.message


def test_a_function_that_needs_arguments_is_refused(here: Path) -> None:
    write(here, "def make(url):\n    return url\n")
    assert (
        "cannot be called without arguments (missing a required argument: 'url')" in refused("their_app:make").message
    )


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        (
            "from sqlalchemy import create_engine\nx = create_engine('sqlite://')",
            "is a sync Engine (sqlite",
            "create_async",
        ),
        ("x = 3", "is an int, not an AsyncEngine", "name an AsyncEngine"),
        ("def x():\n    return None", "is a NoneType", "name an AsyncEngine"),
        ("async def x():\n    yield 1", "is an async_generator", "this one yields"),
        (
            MADE + "from sqlalchemy.ext.asyncio import AsyncSession\nx = AsyncSession(engine)",
            "is an AsyncSession",
            "bound to",
        ),
    ],
)
def test_what_is_not_an_async_engine_is_refused_with_what_to_name_instead(
    here: Path, text: str, says: str, hint: str
) -> None:
    write(here, text)
    error = refused("their_app:x")
    assert says in error.message
    assert hint in error.hint
