"""A second process uses connection 1 of the first; quiet: both have their own."""

from synthesis import PID, Lease

LEASES = [Lease(1.0), Lease(2.0, process=PID + 1, site="app/worker.py:7 run")]
FIRES = {"leases": LEASES, "inherited": [1]}
SEVERITY, SAYS = "critical", "1 connection of a parent process used by 1 forked"
QUIET = {"leases": LEASES}
