"""Run: the directory that holds everything about one run.

In: a root (`.poolctl/runs`) and the facts of `run.json`. Out: paths and facts. Knows nothing of what the files mean.

```
<root>/<id>/run.json              what ran, on what, when (no secrets)
            events-<pid>.bin      raw records (`trace.events`), append-only, one file a process
            names-<pid>.jsonl     sites, pools, contexts, errors, statements, once each
            guests.txt            how far capture came in each process (diagnose): `<pid> <python> <event> <detail>`
            server.jsonl          samples of the server, one a line (`target.probing`); `gone`: it was lost
            proxy.jsonl           samples of the pooler before it (`target.pgbouncer`)
            proxy-log.jsonl       what its log says of the run (`target.pgbouncer_log`); the first line counts lines
            leases.parquet        one row a lease       (made when the run is done, or on the first report)
            operations.parquet    one row a work item   (load tests)
            statements.parquet    one row a statement
            report.json           the report
```

The keys of `run.json` that analysis reads (a missing one is "unknown", never an error):

```
schema, id            added by write_meta
command, scenario, seed, started_at (ISO 8601, UTC), duration_s (as planned), processes
anchor: [monotonic_ns, wall_ns]   the run's start: second 0 of every table; set when the load begins
ended_at_s            second at which the load ended (the last operation, or the interrupt); missing: the last record
assumed_processes     how many processes will have such a pool, where nothing was watched (diagnose --window 0)
end                   "completed" | "interrupted" | "target lost" | "worker died"
target                TargetInfo as plain data: dialect, driver, pool_class, settings: {…}, server: {…}, proxy: {…}
server_blind          what could not be seen of the server, one line each
load                  {model: "open" | "closed", offered_per_s, arrivals, duration_s, cycle_s}: the tape, all processes
objectives            [text, …]
source                {kind: "log", name, resolution_s} where the run was made from a log
untold                ["timeouts", "waiting", …]: what the source (a log) cannot tell; none seen means nothing
way, title, pids      diagnose: launch | attach | announced, what was watched in words, all processes met
notes                 what a user should know besides, one line each
calibration           {connect_s: […], cold_s, close_s, cores}: probes before the load; null where there were none
cpu                   {cores_busy, cores_ours, cores_server}: mean cores used by everybody on this machine, by poolctl,
                      by database servers; null where that cannot be seen
part_of               the id of the run whose prediction this one proves (--verify, --sweep); `last` does not mean it
think_in_hold         true when the scenario itself thinks while it holds (so idle-in-hold was asked for)
```
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from poolctl.errors import InputError, OutputError

SCHEMA = 1
"""Version of `run.json` and of the directory's layout."""

DEFAULT_ROOT = Path(".poolctl/runs")
ANNOUNCED = "announced"
"""The directory beside the runs in which processes announce themselves that capture for whoever comes."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory that exists."""

    path: Path

    @property
    def id(self) -> str:
        """The directory's name: date, time and four random letters."""
        return self.path.name

    @property
    def is_part(self) -> bool:
        """Whether it was made to prove another run's prediction, and is not meant when runs are spoken of."""
        try:
            return bool(json.loads((self.path / "run.json").read_text()).get("part_of"))
        except (OSError, ValueError, AttributeError):
            return False

    @classmethod
    def create(cls, root: Path = DEFAULT_ROOT) -> Run:
        """Make a new, empty run directory under `root`. Raises OutputError when it cannot be written."""
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        path = root / name
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise output_error(root, error) from None
        return cls(path.absolute())

    @classmethod
    def open(cls, name: str, root: Path = DEFAULT_ROOT) -> Run:
        """Return the run called `name`: `last`, an id (or its unique beginning) under `root`, or a directory's path.

        Raises InputError when there is none.
        """
        direct = Path(name)
        if (direct / "run.json").is_file():
            return cls(direct.absolute())
        known = sorted(path.parent for path in root.glob("*/run.json"))
        if name == "last":
            newest = sorted(known, key=lambda path: (path / "run.json").stat().st_mtime_ns, reverse=True)
            if newest:
                return cls(next((path for path in newest if not cls(path).is_part), newest[0]).absolute())
            raise InputError(f"no run under {root} yet", "record one with `poolctl loadtest`")
        matches = [path for path in known if path.name.startswith(name)]
        if len(matches) == 1:
            return cls(matches[0].absolute())
        what = "is not unique" if matches else "is not a run"
        hint = (
            "the runs are: " + ", ".join(path.name for path in known[-5:])
            if known
            else "record one with `poolctl loadtest`"
        )
        raise InputError(f"{name!r} {what} (looked for a directory with run.json, here and under {root})", hint)

    def read_meta(self) -> dict[str, Any]:
        """Return `run.json`. Raises InputError when it is missing, malformed or of another schema."""
        try:
            meta = json.loads((self.path / "run.json").read_text())
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}/run.json cannot be read: {error}", "the run was not recorded to its start"
            ) from None
        if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
            raise InputError(
                f"{self.path}/run.json has another schema than {SCHEMA}", "use the poolctl that recorded it"
            )
        return meta

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Replace `run.json` in one step; `schema` and `id` are added."""
        self.write_text("run.json", json.dumps({"schema": SCHEMA, "id": self.id, **meta}, indent=1))

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run in one step (temporary file, then rename). Raises OutputError."""
        write_text(self.path / name, text)

    def event_files(self) -> list[Path]:
        """The raw event files, by name."""
        return sorted(self.path.glob("events-*.bin"))

    def names_file(self, events: Path) -> Path:
        """The names file that belongs to an event file."""
        return events.with_name(events.name.replace("events-", "names-", 1)).with_suffix(".jsonl")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step. Raises OutputError; a file that was there stays whole.

    A device or a pipe (`/dev/stdout`, `/dev/null`) is written to, never replaced.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.exists() and not path.is_file():
            path.write_text(text)
            return
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise output_error(path, error) from None


def output_error(path: Path, error: OSError) -> OutputError:
    """Turn the system's refusal into one clear line."""
    hints = {
        errno.ENOSPC: "free some space, or choose another place with --runs-dir",
        errno.EDQUOT: "free some space, or choose another place with --runs-dir",
        errno.EACCES: "choose a directory you may write with --runs-dir",
        errno.EROFS: "choose a directory you may write with --runs-dir",
        errno.ENOTDIR: "a part of that path is a file: choose another with --runs-dir",
    }
    return OutputError(f"cannot write {path}: {error.strerror}", hints.get(error.errno or 0, "choose another place"))
