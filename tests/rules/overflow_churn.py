"""Every second checkout opens a connection though three are the peak; quiet: only the first three."""

from synthesis import Lease

FIRES = {"leases": [Lease(k * 0.1, 0.25, fresh=k % 2 == 0, connection=k + 1) for k in range(200)]}
SEVERITY, SAYS = "warning", "97 connections were opened again"
QUIET = {"leases": [Lease(k * 0.1, 0.25, fresh=k < 3, connection=k % 3 + 1) for k in range(200)]}
