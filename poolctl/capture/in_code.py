"""In code: capture for those who want it in their own start-up.

In: nothing, or one engine. Out: this process announces itself, and `poolctl diagnose` in the same directory finds it,
now or in a month: records go round in a ring of fixed size in shared memory, until somebody reads them or nobody.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from poolctl.capture import bootstrap
from poolctl.trace.run import ANNOUNCED, DEFAULT_ROOT, output_error

RUN_DIR = "POOLCTL_RUN_DIR"


class Attached:
    """Capture, begun by `attach`."""

    def __init__(self, directory: Path, *, ours: bool) -> None:
        self.directory = directory
        """Where the process announced itself."""
        self._ours = ours

    def remove(self) -> None:
        """Take every hook off again, unless capture was there before (`poolctl diagnose -- COMMAND`)."""
        guest = bootstrap.present()
        if self._ours and guest is not None and guest.directory == self.directory:
            bootstrap.stop()
            guest.withdraw()


def attach(engine: Any = None, *, directory: Path | str | None = None) -> Attached:
    """Capture every pool of this process; with `engine` (Engine or AsyncEngine) only its, also after `dispose()`.

    Call it once, before or after engines are made, in each process or before it forks; again for another engine. Costs
    some microseconds a checkout and 6 MB of shared memory. The process announces itself in `directory`; else where
    POOLCTL_RUN_DIR says; else in `.poolctl/runs/announced`. Raises OutputError when that cannot be written.
    """
    before = bootstrap.present()
    where = before.directory if before is not None else _place(directory)
    guest = bootstrap.start(where, forever=True, engine=engine)
    return Attached(guest.directory, ours=before is None)


def _place(directory: Path | str | None) -> Path:
    place = Path(directory or os.environ.get(RUN_DIR) or DEFAULT_ROOT / ANNOUNCED).absolute()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(place, error) from None
    return place
