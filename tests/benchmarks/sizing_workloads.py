"""The workloads that sizing is measured on: application, CPU or row lock hold the connection, or all three.

SIZING_ROWS in the environment: how many rows the computing statement sums. `sizing_runs` sets it to what takes this
machine four milliseconds: on a fast one the CPU-bound workloads would otherwise ask for nothing.
"""

from __future__ import annotations

import os

from sqlalchemy import Connection, text

from poolctl.load import Scenario, integers, lognormal, on_off, poisson, think, transaction

ROWS = int(os.environ.get("SIZING_ROWS", "20000"))
COMPUTED = integers(3 * ROWS // 4, 5 * ROWS // 4)


def prepare(connection: Connection) -> None:
    """One hot row and a thousand cold ones."""
    connection.execute(text("CREATE TABLE IF NOT EXISTS poolctl_counters (id int PRIMARY KEY, n bigint NOT NULL)"))
    connection.execute(
        text("INSERT INTO poolctl_counters SELECT g, 0 FROM generate_series(0, 1000) g ON CONFLICT DO NOTHING")
    )


def waiting(connection: Connection, pause: float) -> None:
    """Two cheap statements around application time."""
    connection.execute(text("SELECT 1"))
    think(pause)
    connection.execute(text("SELECT 2"))


def computing(connection: Connection, rows: int) -> None:
    """One statement of some milliseconds of CPU."""
    connection.execute(text("SELECT sum(g) FROM generate_series(1, :rows) g"), {"rows": rows})


def hot_row(connection: Connection, pause: float) -> None:
    """Change the row that everybody changes, then take a while to commit."""
    connection.execute(text("UPDATE poolctl_counters SET n = n + 1 WHERE id = 0"))
    think(pause)
    connection.execute(text("SELECT n FROM poolctl_counters WHERE id = 0"))


def cold_row(connection: Connection, row: int, pause: float) -> None:
    """The same on a row of its own."""
    connection.execute(text("UPDATE poolctl_counters SET n = n + 1 WHERE id = :row"), {"row": row})
    think(pause)
    connection.execute(text("SELECT n FROM poolctl_counters WHERE id = :row"), {"row": row})


app = transaction(weight=1, pause=lognormal("28ms", 0.3))(waiting)
cpu = transaction(weight=1, rows=COMPUTED)(computing)
hot = transaction(weight=4, pause=lognormal("11ms", 0.3))(hot_row)
cold = transaction(weight=6, row=integers(1, 1000), pause=lognormal("11ms", 0.3))(cold_row)


class _Workload(Scenario):
    objectives = ("p95 wait < 50ms", "rate timeouts < 0.1%")
    setup = prepare
    writes = True


def _bursty(rate: float) -> object:
    return on_off(quiet=0.4 * rate, burst=2.2 * rate, quiet_for="1200ms", burst_for="600ms")


class AppPoisson(_Workload):
    """Thirty milliseconds of application time."""

    arrivals = poisson(150)
    transactions = (app,)


class AppBursty(_Workload):
    """The same in bursts."""

    arrivals = _bursty(150)
    transactions = (app,)


class CpuPoisson(_Workload):
    """The database computes."""

    arrivals = poisson(180)
    transactions = (cpu,)


class CpuBursty(_Workload):
    """The same in bursts."""

    arrivals = _bursty(150)
    transactions = (cpu,)


class LockPoisson(_Workload):
    """Four of ten change one row."""

    arrivals = poisson(110)
    transactions = (hot, cold)


class LockBursty(_Workload):
    """The same in bursts."""

    arrivals = _bursty(90)
    transactions = (hot, cold)


class MixPoisson(_Workload):
    """A bit of everything."""

    arrivals = poisson(130)
    transactions = (
        transaction(weight=50, pause=lognormal("28ms", 0.3))(waiting),
        transaction(weight=25, rows=COMPUTED)(computing),
        transaction(weight=15, pause=lognormal("11ms", 0.3))(hot_row),
        transaction(weight=10, row=integers(1, 1000), pause=lognormal("11ms", 0.3))(cold_row),
    )


class MixBursty(MixPoisson):
    """The same in bursts."""

    arrivals = _bursty(130)
