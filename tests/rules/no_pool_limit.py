"""NullPool, where opening takes as long as the work; quiet: a pool."""

from synthesis import Lease

LEASES = [Lease(1.0, 0.1, connect=0.1, fresh=True)]
NONE = {"pool_size": None, "max_overflow": None, "pool_timeout_s": None}
FIRES = {"leases": LEASES, "settings": NONE, "pool_class": "NullPool"}
SEVERITY, SAYS = "warning", "NullPool opens a connection for every checkout"
QUIET = {"leases": LEASES}
