"""The clinic: the patients of `apps/patients.py` under `poolctl diagnose`, several at a time.

In: a PostgreSQL, names of patients. Out: for each what poolctl said: the report, as JSON and on an 80-column screen.
Each has a database of its own. One that was seen while the machine stood still is seen again: that is no illness.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from command import Result, clean_environment, poolctl
from sick_apps import APPS
from sqlalchemy import make_url

AT_ONCE = 6
"""They sleep for most of their time."""
LOOKS, PAUSE_S = 4, 5.0
"""At a patient, while the machine stands still meanwhile, and from one to the next."""
STILL_S = 0.3
PARTS = "poolctl.cli.app, poolctl.analysis.summary, poolctl.watch.session, sqlalchemy.ext.asyncio, asyncpg, psycopg"
"""What every patient or poolctl imports: read from the disk and compiled before the first of six at once is seen."""
AWAITED = (
    ("from sqlalchemy.ext.asyncio import create_async_engine", "from sqlalchemy import create_engine"),
    ("= create_async_engine", "= create_engine"),
    ("return create_async_engine", "return create_engine"),
    ("Tasks as Crowd", "Threads as Crowd"),
    ("asyncio.run(main())", "main()"),
    ("asyncio.sleep", "time.sleep"),
    ("async ", ""),
    ("await ", ""),
)


def twin_of(source: str) -> str:
    """Return the same application on threads, each line where it was."""
    for awaited, plain in AWAITED:
        source = source.replace(awaited, plain)
    return source


@dataclass(frozen=True)
class Chart:
    """What poolctl said of a patient."""

    code: int
    report: dict[str, Any]
    screen: list[str]
    """The report on a screen of 80 columns, in lines."""
    stderr: str
    application: Path

    def line(self, name: str) -> str:
        """Return `file:line` of the patient's line that is marked with this name."""
        source = self.application.read_text().splitlines()
        begin = next(n for n, text in enumerate(source) if f"def {self.application.stem}(" in text)
        number = next(n for n, text in enumerate(source[begin:], begin + 1) if text.endswith(f"# {name}"))
        return f"{self.application}:{number}"

    @property
    def findings(self) -> dict[str, str]:
        """The severity of each finding, by its code."""
        return {finding["code"]: finding["severity"] for finding in self.report["findings"]}

    def __str__(self) -> str:
        return "\n".join(self.screen)


class Clinic:
    """Patients, seen as soon as there is room; `with Clinic(…) as clinic: clinic.chart(name, way)`.

    A way is `async` or `sync`; with `blind` in it poolctl does not look at the server.
    """

    def __init__(self, url: str, directory: Path, wanted: Iterable[tuple[str, str]]) -> None:
        self._url = make_url(url)
        self._directory = directory
        self._rooms = ThreadPoolExecutor(AT_ONCE)
        self._charts: dict[tuple[str, str], Future[Chart]] = {}
        subprocess.run([sys.executable, "-c", f"import {PARTS}"], check=True)
        for name, way in dict.fromkeys(wanted):
            self._charts[name, way] = self._rooms.submit(self._see, name, way)

    def __enter__(self) -> Clinic:
        return self

    def __exit__(self, *_: object) -> None:
        self._rooms.shutdown(cancel_futures=True)

    def chart(self, name: str, way: str) -> Chart:
        """Return what was found; wait for it."""
        return self._charts[name, way].result()

    def interrupt(self, name: str, way: str, records: int) -> Chart:
        """Press Ctrl-C once so many records have come; return what was found until then."""
        room = self._admit(name, way)
        process = subprocess.Popen(
            [sys.executable, "-m", "poolctl", *room.arguments],
            cwd=room.path,
            env=clean_environment(**room.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        until = time.monotonic() + 120
        try:
            while sum(path.stat().st_size for path in room.path.glob(".poolctl/runs/*/events-*")) < 64 * records:
                assert process.poll() is None, "it ended by itself"
                assert time.monotonic() < until, "the records do not come"
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
        return room.chart(Result(process.returncode, out.decode(), err.decode()))

    def _see(self, name: str, way: str) -> Chart:
        for look in range(LOOKS):
            room = self._admit(name, way, look)
            chart = room.chart(poolctl(*room.arguments, cwd=room.path, environment=room.environment))
            if not room.stood_still:
                break
            time.sleep(PAUSE_S)
        return chart

    def _admit(self, name: str, way: str, look: int = 0) -> Room:
        path = self._directory / f"{name}-{way}{look or ''}".replace(" ", "-")
        path.mkdir()
        source, awaits, blind = (APPS / "patients.py").read_text(), "async" in way, "blind" in way
        application = path / f"{name}.py"
        application.write_text(source if awaits else twin_of(source))
        database = f"clinic_{name}_{way}{look or ''}".replace(" ", "_")
        with psycopg.connect(self._url.set(drivername="postgresql").render_as_string(False), autocommit=True) as to:
            to.execute(f'create database "{database}"')  # type: ignore[call-overload]
        url = self._url.set(database=database)
        own = url if awaits else url.set(drivername="postgresql+psycopg")
        arguments = ["diagnose", "--quiet", *([] if blind else ["--url", url.render_as_string(False)])]
        arguments += ["--report", "report.json", "--", sys.executable, str(application), name]
        environment = {
            "DATABASE_URL": own.render_as_string(False),
            "PYTHONPATH": os.pathsep.join([str(APPS), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "COLUMNS": "80",
            "NO_COLOR": "1",
        }
        return Room(path, application, arguments, environment)


@dataclass(frozen=True)
class Room:
    """A patient that is about to be seen."""

    path: Path
    application: Path
    arguments: list[str]
    """Of poolctl."""
    environment: dict[str, str]

    @property
    def stood_still(self) -> bool:
        """Whether the machine kept the patient or poolctl from running, as poolctl saw it."""
        report = self.path / "report.json"
        said = json.loads(report.read_text())["evidence"] if report.exists() else []
        lines = "".join(file.read_text() for file in self.path.glob(".poolctl/runs/*/machine.jsonl")).splitlines()
        lost = sum(json.loads(line)["lost_s"] for line in lines)
        return lost > STILL_S or any(line.startswith("processor: denied") for line in said)

    def chart(self, result: Result) -> Chart:
        """Return what was found."""
        report = self.path / "report.json"
        said = json.loads(report.read_text()) if report.exists() else {}
        return Chart(result.code, said, result.out.splitlines(), result.err, self.application)
