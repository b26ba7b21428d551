"""A connection dies after 9 s in the pool, of a wait_timeout of 8 s; quiet: it is recycled before."""

from synthesis import Lease

LEASES = [Lease(0.0), Lease(1.0), Lease(10.5, end="invalidated")]
SERVER = {"idle_timeout_s": 8.0}
FIRES = {"leases": LEASES, "server": SERVER, "duration": 12.0}
SEVERITY, SAYS = "error", "pool_recycle is not set"
QUIET = {"leases": LEASES[:2], "server": SERVER, "settings": {"pool_recycle_s": 4.0}, "duration": 12.0}
