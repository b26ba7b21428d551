"""Two minutes; quiet: the default."""

from synthesis import Lease

FIRES = {"leases": [Lease(1.0)], "settings": {"pool_timeout_s": 120.0}}
SEVERITY, SAYS = "warning", "pool_timeout of 2.00 min is longer"
QUIET = {"leases": [Lease(1.0)], "settings": {"pool_timeout_s": 30.0}}
