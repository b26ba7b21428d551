"""NullPool."""

from synthesis import Lease

LEASES = [Lease(1.0, fresh=True)]
NONE = {"pool_size": None, "max_overflow": None, "pool_timeout_s": None}
FIRES = {"leases": LEASES, "settings": NONE, "pool_class": "NullPool"}
SEVERITY, SAYS = "warning", "NullPool opens a connection for every checkout"
QUIET = {"leases": LEASES}
