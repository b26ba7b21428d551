"""Every request waits 100 ms; quiet: 10 ms."""

from synthesis import Lease

FIRES = {"leases": [Lease(k * 0.1, 0.05, wait=0.1) for k in range(100)]}
SEVERITY, SAYS = "warning", "p95 acquire time is 100 ms, 100 % of it waiting"
QUIET = {"leases": [Lease(k * 0.1, 0.05, wait=0.01) for k in range(100)]}
