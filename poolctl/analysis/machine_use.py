"""Who used the machine while a run was made: what the database could have, and whether others disturbed it.

In: run.json. Out: the cores that were left for the database, and what others took. Knows nothing of sizes.
Background work changed CPU-bound holds by a factor of two: a run that met it says little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DISTURBED = 0.15
"""Share of the cores that others may use meanwhile."""
LEAST_LEFT = 0.5
"""Of the cores: however busy the rest of the machine was, the database had at least so much where it asked for it."""


@dataclass(frozen=True, slots=True)
class MachineUse:
    """Mean cores used while the run was made."""

    cores: float
    """Of the server's machine, which is this one."""
    ours: float
    """By the load generator."""
    others: float
    """By neither the load generator nor a database server."""

    @property
    def left(self) -> float:
        """Cores that the database could have."""
        return max(self.cores - self.others - self.ours, LEAST_LEFT * self.cores)

    @property
    def disturbed(self) -> bool:
        """Whether others took so much that holds which need CPU say little."""
        return self.others > DISTURBED * self.cores


def machine_use(meta: Mapping[str, Any]) -> MachineUse | None:
    """Return who used the machine; None where the server was on another one, or nobody looked.

    The run knows the cores of the server's machine only where that is the machine of the run.
    """
    said = meta.get("cpu")
    cores = ((meta.get("target") or {}).get("server") or {}).get("cores")
    if not cores or not isinstance(said, Mapping):
        return None
    busy, ours, server = (float(said.get(f"cores_{who}") or 0.0) for who in ("busy", "ours", "server"))
    return MachineUse(float(cores), ours, max(busy - ours - server, 0.0))
