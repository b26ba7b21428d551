"""What poolctl's own CI plays: two statements a lease, 60 % of five connections in use."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from poolctl.load import Scenario, lognormal, poisson, think, transaction


@transaction(service=lognormal("15ms", 0.5))
def work(connection: Any, service: float) -> None:
    """Ask twice, and be slow about it."""
    connection.execute(text("select 1"))
    think(service)
    connection.execute(text("select 2"))


class OwnPool(Scenario):
    """Steady work, so that its times can be compared."""

    arrivals = poisson("150/s")
    transactions = (work,)
    objectives = ()
