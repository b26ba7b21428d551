"""High-throughput batch: eight workers, each taking the next chunk as soon as it is done with the last.

The profile "high-throughput batch": a closed model, so the load adapts to the database and the pool should have a
connection for each worker. Holds are dominated by the database; a pool smaller than the workers shows as waiting.

    poolctl loadtest batch
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from poolctl.load import Scenario, closed, create_shop, exponential, integers, think, transaction


@transaction(weight=4, first=integers(1, 19_500), compute=exponential("10ms"))
def summarise_customers(connection: Connection, first: int, compute: float) -> None:
    """Read the orders of 500 customers, compute, and write one of the sums back."""
    rows = connection.execute(
        text(
            "SELECT customer_id, sum(total_cents) FROM poolctl_orders"
            " WHERE customer_id BETWEEN :first AND :first + 499 GROUP BY customer_id"
        ),
        {"first": first},
    ).all()
    think(compute)
    for customer, spent in rows[:1]:
        connection.execute(
            text("UPDATE poolctl_customers SET spent_cents = :spent WHERE id = :id"), {"id": customer, "spent": spent}
        )


@transaction(weight=1, first=integers(1, 49_000))
def check_lines(connection: Connection, first: int) -> None:
    """Look for lines of a thousand orders whose product is gone."""
    connection.execute(
        text(
            "SELECT count(*) FROM poolctl_order_lines l LEFT JOIN poolctl_products p ON p.id = l.product_id"
            " WHERE l.order_id BETWEEN :first AND :first + 999 AND p.id IS NULL"
        ),
        {"first": first},
    )


class Batch(Scenario):
    """Eight workers in a loop, with a short pause between chunks."""

    arrivals = closed(clients=8, think=exponential("20ms"))
    transactions = (summarise_customers, check_lines)
    objectives = ("p95 wait < 50ms", "p95 hold < 2s", "count timeouts == 0")
    duration = "60s"
    setup = create_shop
    writes = True
