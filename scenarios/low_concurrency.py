"""A low-concurrency API: four requests a second, each done in some 15 ms.

The profile "low-concurrency API": hardly ever are two requests there at once, so one or two connections serve it. A
pool of 50 works as well, and keeps server processes and memory for nothing.

    poolctl loadtest low_concurrency
    poolctl loadtest low_concurrency --pool-size 50
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from poolctl.load import Scenario, create_shop, exponential, integers, poisson, think, transaction, zipf


@transaction(weight=4, product=zipf(10_000), work=exponential("10ms"))
def get_product(connection: Connection, product: int, work: float) -> None:
    """GET /products/{id}."""
    connection.execute(text("SELECT name, price_cents, stock FROM poolctl_products WHERE id = :id"), {"id": product})
    think(work)


@transaction(weight=1, product=integers(1, 10_000), work=exponential("15ms"))
def restock(connection: Connection, product: int, work: float) -> None:
    """POST /products/{id}/restock."""
    think(work)
    connection.execute(text("UPDATE poolctl_products SET stock = stock + 10 WHERE id = :id"), {"id": product})


class LowConcurrency(Scenario):
    """Independent requests, a few a second."""

    arrivals = poisson("4/s")
    transactions = (get_product, restock)
    objectives = ("p95 wait < 50ms", "count timeouts == 0")
    duration = "60s"
    setup = create_shop
    writes = True
