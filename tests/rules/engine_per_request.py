"""Twenty engines, each asked once; quiet: four engines, asked again and again."""

from synthesis import Lease

SITE = "app/orders.py:12 total"
FIRES = {
    "leases": [
        Lease(k * 1.0, 0.05, pool=k + 1, fresh=True, connect=0.01, connection=k + 1, site=SITE) for k in range(20)
    ]
}
SEVERITY, SAYS = "error", "20 engines were made for one URL in one process, for 20 leases"
QUIET = {"leases": [Lease(k * 0.1, 0.05, pool=k % 4 + 1, connection=k % 4 + 1) for k in range(100)]}
