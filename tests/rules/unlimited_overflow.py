"""max_overflow=-1."""

from synthesis import Lease

LEASES = [Lease(1.0, 0.5), Lease(1.1, 0.5)]
FIRES = {"leases": LEASES, "settings": {"pool_size": 5, "max_overflow": -1}}
SEVERITY, SAYS = "warning", "max_overflow=-1"
QUIET = {"leases": LEASES, "settings": {"pool_size": 5, "max_overflow": 0}}
