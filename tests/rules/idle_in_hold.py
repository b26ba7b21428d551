"""A tenth of the hold is SQL, and nobody waits; quiet: nine tenths."""

from synthesis import Lease

FIRES = {"leases": [Lease(k * 1.0, 0.1, sql=0.01) for k in range(20)]}
SEVERITY, SAYS = "info", "90.0 % of the hold is idle at app/orders.py:42 handler"
QUIET = {"leases": [Lease(k * 1.0, 0.1, sql=0.09) for k in range(20)]}
