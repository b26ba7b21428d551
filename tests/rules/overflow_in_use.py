"""Five of ten overflow connections; quiet: one of ten."""

from synthesis import Lease

FIRES = {
    "leases": [Lease(1.0, 0.5, overflow=k >= 5, fresh=True, connect=0.01, connection=k + 1) for k in range(10)],
    "settings": {"pool_size": 5, "max_overflow": 10},
}
SEVERITY, SAYS = "warning", "5 of 10 overflow connections"
QUIET = {
    "leases": [Lease(1.0, 0.5, overflow=k >= 5, fresh=True, connect=0.01, connection=k + 1) for k in range(6)],
    "settings": {"pool_size": 5, "max_overflow": 10},
}
