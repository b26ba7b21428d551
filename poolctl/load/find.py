"""Find scenarios: by name where scenarios are kept, or by the path of a file.

In: a name, a path, or `path:Class`. Out: the class, checked, and where it came from. Knows nothing of running it.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from poolctl.errors import InputError, PoolctlError
from poolctl.load.scenario import Scenario

PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Found:
    """A scenario and its file."""

    name: str
    """The file's name without `.py`."""
    path: Path
    scenario: type[Scenario]

    @property
    def summary(self) -> str:
        """The first line of what the file, or the class, says about itself."""
        module = sys.modules.get(self.scenario.__module__)
        said = inspect.cleandoc(getattr(module, "__doc__", None) or self.scenario.__doc__ or "")
        return said.partition("\n")[0]

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def directories() -> list[Path]:
    """Return where names are looked up: `scenarios/` here, then those that came with poolctl."""
    places = [Path.cwd() / "scenarios", PACKAGE / "_scenarios", PACKAGE.parent / "scenarios"]
    return [place for place in dict.fromkeys(places) if place.is_dir()]


def files() -> dict[str, Path]:
    """Return the scenario files by name; a nearer directory hides a farther one."""
    found: dict[str, Path] = {}
    for place in directories():
        for path in sorted(place.glob("*.py")):
            if not path.name.startswith("_"):
                found.setdefault(path.stem, path)
    return found


def find(name: str) -> Found:
    """Return the scenario called `name`, or in the file `name`, or the class in `file:Class`.

    Raises InputError: nothing of that name (with the nearest), no or several scenarios in the file, or what Python says
    about the file, with its line.
    """
    text, _, wanted = name.partition(":") if ".py:" in name else (name, "", "")
    path = Path(text)
    if not (path.suffix == ".py" or "/" in text):
        known = files()
        if text not in known:
            near = difflib.get_close_matches(text, known, 1)
            hint = f"did you mean {near[0]}?" if near else "there are: " + ", ".join(sorted(known))
            raise InputError(f"there is no scenario {text!r}", f"{hint} (or give the path of a file)")
        path = known[text]
    if not path.is_file():
        raise InputError(f"there is no scenario file {path}", "`poolctl scenarios` lists those that have a name")
    return Found(path.stem, path.absolute(), _pick(path, wanted))


def _pick(path: Path, wanted: str) -> type[Scenario]:
    module = _load(path.absolute())
    classes = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Scenario)
        and value.__module__ == module.__name__
        and getattr(value, "transactions", None)
    }
    if wanted:
        if wanted in classes:
            return classes[wanted]
        raise InputError(f"{path} has no scenario {wanted!r}", "it has: " + (", ".join(classes) or "none"))
    if len(classes) == 1:
        return next(iter(classes.values()))
    if classes:
        raise InputError(
            f"{path} has several scenarios", "choose one: " + ", ".join(f"{path}:{key}" for key in classes)
        )
    raise InputError(f"{path} has no scenario", "write a class that derives from poolctl.load.Scenario")


def _load(path: Path) -> ModuleType:
    name = "poolctl_scenario_" + re.sub(r"\W", "_", path.stem) + "_" + hashlib.sha256(bytes(path)).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file", "give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # it may import its neighbours; last, so that a queue.py hides no module
    try:
        spec.loader.exec_module(module)
    except PoolctlError:
        raise
    except SyntaxError as error:
        where = f"{error.filename or path}:{error.lineno}"
        raise InputError(f"{where}: {error.msg}", "correct the scenario's syntax") from None
    except Exception as error:  # noqa: BLE001 - whatever the user's file raises is the user's to see, in one line
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = frames[-1].lineno if frames else 1
        raise InputError(
            f"{path}:{line}: {type(error).__name__}: {error}", "the scenario cannot be imported; correct that line"
        ) from None
    return module
