"""The shop: tables that the shipped scenarios work on, with enough rows to matter.

In: a connection inside a transaction. Out: `poolctl_products`, `poolctl_customers`, `poolctl_orders` and
`poolctl_order_lines`, made and filled where they are missing, left alone where they are there. Drops nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData

PRODUCTS = 10_000
"""Rows of `poolctl_products`; ids run from 1 to it."""
CUSTOMERS = 20_000
"""Rows of `poolctl_customers`; ids run from 1 to it."""
ORDERS = 50_000
"""Orders there are before the first run; each has two lines."""
CHUNK = 5_000
"""Rows sent at once where the database cannot make them itself."""

FILL = {
    "poolctl_products": (PRODUCTS, "n, 'product ' || n, 100 + n * 37 % 9900, 1000000"),
    "poolctl_customers": (CUSTOMERS, "n, 'customer ' || n, 0"),
    "poolctl_orders": (ORDERS, f"n, 1 + n * 7919 % {CUSTOMERS}, 500 + n * 101 % 20000"),
    "poolctl_order_lines": (2 * ORDERS, f"n, 1 + n % {ORDERS}, 1 + n * 7 % {PRODUCTS}, 1 + n % 3"),
}
"""Rows, and the columns of row n in SQL, by table."""


def create_shop(connection: Connection) -> None:
    """Make and fill the shop's tables: about a second the first time, nothing after that."""
    from sqlalchemy import text

    metadata = _tables()
    metadata.create_all(connection)
    for table in metadata.sorted_tables:
        if connection.execute(text(f"SELECT 1 FROM {table.name} LIMIT 1")).first() is None:  # noqa: S608 - our names
            _fill(connection, table)


def _fill(connection: Connection, table: Any) -> None:
    from sqlalchemy import text

    rows, columns = FILL[table.name]
    if connection.dialect.name != "postgresql":
        for first in range(1, rows + 1, CHUNK):
            numbers = range(first, min(first + CHUNK, rows + 1))
            connection.execute(table.insert(), [_row(table.name, n) for n in numbers])
        return
    names = ", ".join(column.name for column in table.columns)
    connection.execute(
        text(f"INSERT INTO {table.name} ({names}) SELECT {columns} FROM generate_series(1, {rows}) AS n")  # noqa: S608
    )
    if table.name in ("poolctl_orders", "poolctl_order_lines"):  # the next row gets the next number
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {rows})"))
    connection.execute(text(f"ANALYZE {table.name}"))


def _row(table: str, n: int) -> dict[str, Any]:
    """Return what FILL says about row n, for databases without generate_series."""
    rows: dict[str, dict[str, Any]] = {
        "poolctl_products": {"id": n, "name": f"product {n}", "price_cents": 100 + n * 37 % 9900, "stock": 1_000_000},
        "poolctl_customers": {"id": n, "name": f"customer {n}", "spent_cents": 0},
        "poolctl_orders": {"id": n, "customer_id": 1 + n * 7919 % CUSTOMERS, "total_cents": 500 + n * 101 % 20000},
        "poolctl_order_lines": {
            "id": n,
            "order_id": 1 + n % ORDERS,
            "product_id": 1 + n * 7 % PRODUCTS,
            "quantity": 1 + n % 3,
        },
    }
    return rows[table]


def _tables() -> MetaData:
    from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table

    metadata = MetaData()
    Table(
        "poolctl_products",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("name", String(60), nullable=False),
        Column("price_cents", Integer, nullable=False),
        Column("stock", Integer, nullable=False),
    )
    Table(
        "poolctl_customers",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("name", String(60), nullable=False),
        Column("spent_cents", BigInteger, nullable=False),
    )
    Table(
        "poolctl_orders",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("customer_id", Integer, nullable=False, index=True),
        Column("total_cents", Integer, nullable=False),
    )
    Table(
        "poolctl_order_lines",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("order_id", Integer, nullable=False, index=True),
        Column("product_id", Integer, nullable=False),
        Column("quantity", Integer, nullable=False),
    )
    return metadata
