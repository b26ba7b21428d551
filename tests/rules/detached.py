"""A connection is detached."""

from synthesis import Lease

FIRES = {"leases": [Lease(1.0, 0.5, end="detached"), Lease(2.0, 0.1)]}
SEVERITY, SAYS = "warning", "1 connection detached"
QUIET = {"leases": [Lease(1.0, 0.5), Lease(2.0, 0.1)]}
