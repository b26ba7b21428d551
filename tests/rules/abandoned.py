"""A connection is dropped and collected."""

from synthesis import Lease

FIRES = {"leases": [Lease(1.0, 0.5, end="abandoned"), Lease(50.0, 0.1)], "duration": 60.0}
SEVERITY, SAYS = "error", "1 connection left to the garbage collector"
QUIET = {"leases": [Lease(1.0, 0.5), Lease(50.0, 0.1)], "duration": 60.0}
