"""Two records are missing; quiet: all there."""

from synthesis import Lease

FIRES = {"leases": [Lease(1.0), Lease(2.0)], "lose": [2, 5]}
SEVERITY, SAYS = "warning", "2 records were lost"
QUIET = {"leases": [Lease(1.0), Lease(2.0)]}
