"""One hold of 40 s; quiet: 20 s."""

from synthesis import Lease

FIRES = {"leases": [Lease(1.0, 40.0, site="app/export.py:3 run"), Lease(2.0, 0.1)]}
SEVERITY, SAYS = "warning", "1 hold above 30.0 s"
QUIET = {"leases": [Lease(1.0, 20.0), Lease(2.0, 0.1)]}
