"""Two connections, 1.5 of them busy, and requests wait; quiet: four."""

from synthesis import Lease

LEASES = [Lease(k * 0.1, 0.15, wait=0.06) for k in range(100)]
FIRES = {"leases": LEASES, "settings": {"pool_size": 2, "max_overflow": 0}}
SEVERITY, SAYS = "warning", "of the pool was in use on average"
QUIET = {"leases": LEASES, "settings": {"pool_size": 4, "max_overflow": 0}}
