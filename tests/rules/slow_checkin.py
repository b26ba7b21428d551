"""Returning takes 5 ms; quiet: 1 ms."""

from synthesis import Lease

FIRES = {"leases": [Lease(k * 0.1, 0.05, checkin=0.005) for k in range(100)]}
SEVERITY, SAYS = "warning", "p95 checkin time is 5.00 ms"
QUIET = {"leases": [Lease(k * 0.1, 0.05, checkin=0.001) for k in range(100)]}
