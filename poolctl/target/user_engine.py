"""`--engine module:attribute`: an application's own engine, found from the current directory.

In: the text after `--engine`. Out: its engine, or one clear UsageError with the place in the application's code.
Importing a module runs the application's code, in this process.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, overload

from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from poolctl.errors import UsageError
from poolctl.redact import scrub

FORM = "write it as package.module:attribute, seen from the current directory"


@overload
async def find(path: str) -> AsyncEngine: ...
@overload
async def find(path: str, *, sync: bool) -> AsyncEngine | Engine: ...
async def find(path: str, *, sync: bool = False) -> AsyncEngine | Engine:
    """Return the AsyncEngine at `path` (`module:attribute`), calling it, and awaiting it, when it is a function.

    With `sync` an Engine will do, too. Call it on the loop that will use the engine. Raises UsageError.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module_name.split("."), *attribute.split(".")]):
        raise UsageError(f"--engine {path!r} is not of the form module:attribute", FORM)
    found = _attribute(_module(module_name, path), attribute, path)
    if callable(found) and not isinstance(found, AsyncEngine | Engine):
        found = await _call(found, path)
    if isinstance(found, AsyncEngine) or (sync and isinstance(found, Engine)):
        return found
    raise _not_async(found, path)


def _module(name: str, path: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(f"--engine {path}: no module named {error.name!r}, seen from {here}", FORM) from None
        raise _broken(path, "importing it failed", error) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - their code raises what it likes
        raise _broken(path, "importing it failed", error) from None


def _attribute(module: ModuleType, attribute: str, path: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            near = difflib.get_close_matches(part, dir(found), 1)
            engines = [name for name, value in vars(module).items() if isinstance(value, AsyncEngine)]
            owner = getattr(found, "__name__", type(found).__name__)
            hint = f"did you mean {near[0]!r}?" if near else FORM
            if not near and engines:
                hint = f"its async engines are: {', '.join(engines)}"
            raise UsageError(f"--engine {path}: {owner!r} has no {part!r}", hint) from None
    return found


async def _call(function: Any, path: str) -> Any:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise UsageError(
            f"--engine {path}: cannot be called without arguments ({error})", "name a function that needs none"
        ) from None
    except ValueError:
        pass  # a builtin without a signature: the call itself will tell
    try:
        made = function()
        return await made if inspect.isawaitable(made) else made
    except (Exception, SystemExit) as error:  # noqa: BLE001 - their code raises what it likes
        raise _broken(path, "calling it failed", error) from None


def _broken(path: str, what: str, error: BaseException) -> UsageError:
    """Point at the application's line, in its own words."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}"
        text = error.msg
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        here = str(Path.cwd())
        theirs = [
            frame for frame in frames if frame.filename.startswith(here) and "site-packages" not in frame.filename
        ]
        frames = theirs or [frame for frame in frames if not frame.filename.startswith("<frozen")]
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        text = str(error)
    where = f" at {place}" if place else ""
    return UsageError(
        f"--engine {path}: {what}{where}: {type(error).__name__}: {scrub(text)}",
        "make `python -c 'import …'` of that module work in this directory first",
    )


def _not_async(found: Any, path: str) -> UsageError:
    if isinstance(found, Engine):
        driver = f"{found.dialect.name}+{found.dialect.driver}"
        return UsageError(
            f"--engine {path}: is a sync Engine ({driver}); a load test drives an AsyncEngine",
            "make one with create_async_engine and name that, or a function that returns it",
        )
    kind = type(found).__name__
    if inspect.isasyncgen(found) or inspect.isgenerator(found):
        hint = "name a function that returns the engine; this one yields"
    elif kind in ("async_sessionmaker", "AsyncSession", "sessionmaker"):
        hint = "name the engine that it is bound to"
    else:
        hint = "name an AsyncEngine, or a function that returns one"
    return UsageError(
        f"--engine {path}: is {'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}, not an AsyncEngine", hint
    )
