"""Logged: one program, seen twice: by poolctl's own capture, and by the DEBUG log of its pools.

In: a format, a program that uses pools. Out: the tables of both runs.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from poolctl.analysis.leases import Tables, tables
from poolctl.capture import Recorder, install
from poolctl.target.pool_log import LogSummary, read_log
from poolctl.trace.drain import Drain
from poolctl.trace.run import Run

DATED = "%(asctime)s.%(msecs)03d"
SECONDS = "%Y-%m-%dT%H:%M:%S"
FULL = f"{DATED} %(process)d %(thread)d %(name)s %(message)s"
"""What poolctl recommends, but for the task's name, which Python 3.11 does not know."""


@contextmanager
def logging_to(
    path: Path, fmt: str | None = FULL, datefmt: str | None = SECONDS, formatter: logging.Formatter | None = None
) -> Iterator[logging.Handler]:
    """Write what the pools say at DEBUG to a file."""
    logger = logging.getLogger("sqlalchemy.pool")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(formatter or logging.Formatter(fmt, datefmt))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        handler.close()


@dataclass
class Both:
    """A program, seen twice."""

    root: Path
    log: Path
    captured: Tables | None = None
    summary: LogSummary | None = None
    logged: Tables | None = None

    def read(self, captured: Run) -> None:
        self.captured = tables(captured)
        run = Run.create(self.root / "logged")
        self.summary = read_log(self.log, run)
        self.logged = tables(run)


@contextmanager
def seen_twice(
    root: Path, fmt: str | None = FULL, datefmt: str | None = SECONDS, formatter: logging.Formatter | None = None
) -> Iterator[Both]:
    """Run the block under capture and with its pools' log; afterwards both are read."""
    gc.collect()  # what earlier tests left behind shall not be logged here
    both = Both(root, root / "pool.log")
    run = Run.create(root / "captured")
    recorder = Recorder(run.path, ring_records=16384)
    installed = install(recorder)
    drain = Drain(run.path / f"names-{os.getpid()}.jsonl")
    try:
        with logging_to(both.log, fmt, datefmt, formatter):
            yield both
    finally:
        installed.remove()
        recorder.close()
        drain.close()
    run.write_meta({"anchor": [drain.anchor[0], drain.anchor[1]]})
    both.read(run)


def wall(found: Tables, column: str) -> np.ndarray:
    """An instant of every lease that got a connection, as seconds since 1970, in the order of the checkouts."""
    leases = held(found)
    return leases[column].to_numpy(dtype=float) + found.meta["anchor"][1] / 1e9


def held(found: Tables) -> pd.DataFrame:
    """The leases that got a connection, in the order of the checkouts."""
    leases = found.leases
    return leases[leases["acquired_at_s"].notna()].sort_values(["acquired_at_s", "lease"], kind="stable")


def ends(found: Tables) -> dict[str, int]:
    """How many leases met each end; those it cannot tell are left out of neither."""
    return {str(end): int(count) for end, count in found.leases["end"].value_counts().items() if count}


def assert_same_leases(both: Both, resolution: float = 0.001) -> None:
    """Each lease that capture saw is one of the log's, with the same end, at the same instants as far as the log knows.

    The log's "checked out" is written between the request and the checkout, its "being returned" inside the checkin; at
    a millisecond the order of two threads is lost, so that some one-to-one match must exist.
    """
    assert both.captured is not None
    assert both.logged is not None
    assert ends(both.logged) == ends(both.captured), both.log.read_text()[-3000:]
    mine, theirs = held(both.captured), held(both.logged)
    slack = resolution + 0.001  # the two clocks are read at different moments
    got, asked, over = (
        wall(both.captured, name)[:, None] for name in ("acquired_at_s", "requested_at_s", "ended_at_s")
    )
    began, ended = (wall(both.logged, name)[None, :] for name in ("acquired_at_s", "ended_at_s"))
    back = over - mine["checkin_time_s"].fillna(0.0).to_numpy()[:, None]
    same_end = mine["end"].to_numpy(dtype=str)[:, None] == theirs["end"].to_numpy(dtype=str)[None, :]
    # Of a detached one the log tells when it was closed, of an invalidated or abandoned one when that began.
    left = (mine["end"] == "detached").to_numpy()[:, None]
    broken = mine["end"].isin(["invalidated", "cancelled", "abandoned"]).to_numpy()[:, None]
    in_time = (left | (ended <= over + slack)) & ((ended >= back - slack) | broken) | (np.isnan(over) & np.isnan(ended))
    fits = (began <= got + slack) & (began >= asked - slack) & same_end & in_time
    rows, columns = linear_sum_assignment(~fits)
    assert fits[rows, columns].all(), f"no counterpart: {mine.iloc[rows[~fits[rows, columns]]].to_dict('records')}"
