"""Each of three tasks takes a second connection while it holds one; quiet: one after the other."""

from synthesis import Lease

NESTED = [Lease(k * 1.0 + inner * 0.1, 0.1 if inner else 0.5, task=k + 1) for k in range(3) for inner in (0, 1)]
FIRES = {"leases": NESTED, "settings": {"pool_size": 5, "max_overflow": 0}}
SEVERITY, SAYS = "warning", "3 requests made by a task that already held a connection"
QUIET = {"leases": [Lease(k * 1.0 + again * 0.6, 0.5, task=k + 1) for k in range(3) for again in (0, 1)]}
