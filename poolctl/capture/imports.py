"""Imports: be told when a module has been imported that was not there yet. Standard library only.

In: names of modules, and what to call when one of them was executed. Out: a finder on `sys.meta_path` that finds
nothing by itself: modules are found and loaded as ever. `remove` leaves the import system as it was. Where somebody
else's finder stands before it, or a loader takes no attribute, nothing is told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Imports:
    """Made with the names that are awaited, a live collection. `told` must not raise. Deaf until `listen`."""

    def __init__(self, awaited: Collection[str], told: Callable[[], None]) -> None:
        self._awaited = awaited
        self._told = told

    def listen(self) -> None:
        """Be told from now on."""
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Listen no longer."""
        # A new list: an import that another thread is at the middle of would miss the finder that moves up in the old.
        if self in sys.meta_path:
            sys.meta_path = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find an awaited module with the finders behind this one, with a loader that tells us."""
        if name not in self._awaited:
            return None
        finders: list[Any] = list(sys.meta_path)
        if self not in finders:  # removed meanwhile
            return None
        for finder in finders[finders.index(self) + 1 :]:  # one like this before us has us among these, never both ways
            spec: ModuleSpec | None = finder.find_spec(name, path, target) if hasattr(finder, "find_spec") else None
            if spec is not None:
                self._tell_when_executed(spec.loader, name)
                return spec
        return None

    def _tell_when_executed(self, loader: Any, name: str) -> None:
        own = getattr(loader, "__dict__", None)
        original = getattr(loader, "exec_module", None)
        if not isinstance(own, dict) or original is None:  # a class, or without room for an attribute
            return
        before = own.get("exec_module")

        def exec_module(module: ModuleType) -> None:
            if module.__name__ == name and own.get("exec_module") is exec_module:
                own.pop("exec_module")
                if before is not None:
                    own["exec_module"] = before
            original(module)
            if module.__name__ == name:
                self._told()

        own["exec_module"] = exec_module
