"""At most two of fifty; quiet: two of five, and no use at all."""

from synthesis import Lease

LEASES = [Lease(k * 0.1, 0.15) for k in range(100)]
FIRES = {"leases": LEASES, "settings": {"pool_size": 50, "max_overflow": 0}}
SEVERITY, SAYS = "warning", "at most 2 of 50"
QUIET = {"leases": LEASES, "settings": {"pool_size": 5, "max_overflow": 45}}
