"""Bursty web traffic: 8 requests a second, and every 12 seconds a burst of 110 a second for 6 seconds.

The profile "bursty web traffic" of a shop. A request holds its connection for some 70 ms, most of it spent outside the
database (rendering, calling a payment service), so the burst needs about eight connections at once: a pool of 5 queues
and times out, a pool of 10 to 20 rides it.

    poolctl loadtest bursty
    poolctl loadtest bursty --pool-size 5 --max-overflow 0 --pool-timeout 1s
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from poolctl.load import Scenario, create_shop, integers, lognormal, on_off, think, transaction, zipf


@transaction(weight=6, product=zipf(10_000), render=lognormal("60ms", 0.4))
def browse(connection: Connection, product: int, render: float) -> None:
    """Show a product and what others bought with it; the page is rendered while the connection is held."""
    connection.execute(text("SELECT name, price_cents FROM poolctl_products WHERE id = :id"), {"id": product})
    connection.execute(
        text("SELECT id, name FROM poolctl_products WHERE id BETWEEN :id AND :id + 5 ORDER BY id"), {"id": product}
    )
    think(render)


@transaction(weight=3, customer=integers(1, 20_000), render=lognormal("50ms", 0.4))
def order_history(connection: Connection, customer: int, render: float) -> None:
    """Show a customer's latest orders."""
    connection.execute(
        text(
            "SELECT o.id, o.total_cents, count(*) FROM poolctl_orders o JOIN poolctl_order_lines l ON l.order_id = o.id"
            " WHERE o.customer_id = :id GROUP BY o.id, o.total_cents ORDER BY o.id DESC LIMIT 10"
        ),
        {"id": customer},
    )
    think(render)


@transaction(weight=1, customer=integers(1, 20_000), product=zipf(10_000), payment=lognormal("80ms", 0.3))
def place_order(connection: Connection, customer: int, product: int, payment: float) -> None:
    """Reserve the goods, ask the payment service, write the order: the longest hold."""
    price = connection.execute(
        text("SELECT price_cents FROM poolctl_products WHERE id = :id"), {"id": product}
    ).scalar_one()
    think(payment)
    connection.execute(
        text("INSERT INTO poolctl_orders (customer_id, total_cents) VALUES (:customer, :total)"),
        {"customer": customer, "total": price},
    )
    connection.execute(text("UPDATE poolctl_products SET stock = stock - 1 WHERE id = :id"), {"id": product})


class Bursty(Scenario):
    """Quiet, then a burst, and again."""

    arrivals = on_off(quiet="8/s", burst="110/s", quiet_for="6s", burst_for="6s")
    transactions = (browse, order_history, place_order)
    objectives = ("p95 wait < 50ms", "count timeouts == 0")
    duration = "60s"
    setup = create_shop
    writes = True
