"""An M/M/5 queue made of a pool: Poisson arrivals, exponential holds of 10 ms, no SQL; utilisation is rate × 2 ms."""

from __future__ import annotations

from sqlalchemy import Connection

from poolctl.load import Scenario, exponential, poisson, think, transaction


@transaction(hold=exponential("10ms"))
def hold_only(connection: Connection, hold: float) -> None:
    """Hold a connection and do nothing with it."""
    think(hold)


class Queue(Scenario):
    """What Erlang computed."""

    arrivals = poisson("350/s")
    transactions = (hold_only,)
    objectives = ()
    duration = "20s"
