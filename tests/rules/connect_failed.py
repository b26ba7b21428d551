"""The server refuses."""

from synthesis import Lease

FIRES = {"leases": [Lease(1.0, None, connect=0.01, end="failed", error="TooManyConnectionsError"), Lease(2.0)]}
SEVERITY, SAYS = "error", "1 request failed to get a connection"
QUIET = {"leases": [Lease(1.0, None, wait=0.01, end="timed_out"), Lease(2.0)]}
