"""Ten requests to a sync pool on the loop, 20 ms each; quiet: the same site asks an async pool."""

from synthesis import Lease

LEASES = [Lease(k * 0.1, 0.05, sql=0.02, site="app/orders.py:5 total") for k in range(10)]
SYNC = {"class": "QueuePool", "driver": "psycopg", "async": False}
FIRES = {"leases": LEASES, "sync_sites": ["app/orders.py:5 total"], "pools": {1: SYNC}}
SEVERITY, SAYS = "warning", "10 requests to a sync pool made on the event loop"
QUIET = {"leases": LEASES, "sync_sites": ["app/orders.py:5 total"]}
