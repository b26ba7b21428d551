"""Cancelled in the middle of the run; quiet: while waiting, and when the load is stopped."""

from synthesis import Lease

FIRES = {"leases": [Lease(1.0, 0.5, end="cancelled"), Lease(2.0, 0.1)], "duration": 10.0}
SEVERITY, SAYS = "warning", "1 lease cancelled while holding"
QUIET = {"leases": [Lease(1.0, None, wait=0.5, end="cancelled"), Lease(9.4, 0.55, end="cancelled")], "duration": 10.0}
