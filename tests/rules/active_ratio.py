"""Both connections always in use while others wait; quiet: half of the four."""

from synthesis import Lease

FIRES = {
    "leases": [
        Lease(k * 0.1, 0.2, wait=0.08, connection=k % 2 + 1, fresh=k < 2, connect=0.001 if k < 2 else 0.0)
        for k in range(100)
    ],
    "settings": {"pool_size": 2, "max_overflow": 0},
}
SEVERITY, SAYS = "error", "of the open connections were in use on average"
QUIET = {
    "leases": [
        Lease(k * 0.1, 0.2, connection=k % 4 + 1, fresh=k < 4, connect=0.001 if k < 4 else 0.0) for k in range(100)
    ],
    "settings": {"pool_size": 4, "max_overflow": 0},
}
