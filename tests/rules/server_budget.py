"""Two processes with 60 each and 90 connections; quiet: 20 each."""

from synthesis import PID, Lease

LEASES = [Lease(1.0, fresh=True), Lease(1.0, fresh=True, process=PID + 1)]
SERVER = {"max_connections": 100, "reserved_connections": 3, "in_use": 7}
FIRES = {"leases": LEASES, "settings": {"pool_size": 50, "max_overflow": 10}, "server": SERVER}
SEVERITY, SAYS = "error", "2 × 60 connections may be asked for, 90 are there"
QUIET = {"leases": LEASES, "settings": {"pool_size": 10, "max_overflow": 10}, "server": SERVER}
