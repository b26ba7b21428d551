"""The modules that are compiled, as they run where no compiler was: `use()` before they are imported."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "poolctl").rglob("*.pxd"))
"""Names of those; the type declarations for C lie beside the sources."""


class Sources:
    """An import finder that finds them as sources, compiled or not."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in MODULES:
            return None
        (directory,) = path
        return spec_from_file_location(name, Path(directory, name.rpartition(".")[2] + ".py"))


def use() -> None:
    """From here on; raises RuntimeError when it is too late."""
    if late := [name for name in MODULES if name in sys.modules]:
        raise RuntimeError(f"imported already, and so compiled or not as it was found: {', '.join(late)}")
    sys.meta_path.insert(0, Sources())
