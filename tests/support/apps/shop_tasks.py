"""A Celery application: `DATABASE_URL`, `QUEUE` (a directory for the messages), `celery -A shop_tasks worker`."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
from celery import Celery

QUEUE = Path(os.environ["QUEUE"])
app = Celery("shop", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(QUEUE),
        "data_folder_out": str(QUEUE),
        "control_folder": str(QUEUE / "control"),
        "polling_interval": 0.05,
    },
    worker_prefetch_multiplier=1,
)
engine = sa.create_engine(os.environ["DATABASE_URL"], poolclass=sa.QueuePool)


@app.task(name="shop.bill")
def bill(number: int) -> None:
    """Use a connection, and leave a sign that it was done."""
    with engine.connect() as connection:  # bill
        connection.execute(sa.text("select 1"))
    (QUEUE.parent / f"billed-{number}").touch()
