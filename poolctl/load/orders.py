"""Orders: what the control process tells a worker, and what a worker answers, as JSON lines through pipes.

In and out: plain records. The order holds the target's password, so it goes through the worker's standard input, never
onto its command line or to disk. Known to both sides, knows neither.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolctl import errors
from poolctl.errors import PoolctlError
from poolctl.target.spec import TargetSpec


@dataclass(frozen=True, slots=True)
class Order:
    """All that a worker needs."""

    scenario: str
    """`file:Class`."""
    digest: str
    """The tape's: a worker that draws another one must not run."""
    seed: int
    duration_s: float
    rate: float | None
    target: TargetSpec
    directory: str
    """The run's directory."""
    port: int
    """Where locust's master listens, on the loopback interface."""
    setup: bool
    """This worker runs the scenario's set-up."""
    loop: str

    def to_line(self) -> bytes:
        """Return it as one line, WITH the password."""
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return json.dumps({**data, "target": self.target.to_dict()}).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Order:
        """Read what `to_line` wrote."""
        data = json.loads(line)
        return cls(**{**data, "target": TargetSpec.from_dict(data["target"])})

    @property
    def run_directory(self) -> Path:
        """The run's directory."""
        return Path(self.directory)


def failure_line(error: PoolctlError) -> dict[str, Any]:
    """Return an error as an answer."""
    return {"kind": "failed", "error": type(error).__name__, "message": error.message, "hint": error.hint}


def failure_from(answer: dict[str, Any]) -> PoolctlError:
    """Return the error of such an answer."""
    kind = getattr(errors, answer["error"], PoolctlError)
    error: PoolctlError = kind(answer["message"], answer["hint"])
    return error
