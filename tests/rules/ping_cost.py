"""Three connections are dead and nobody tested them; quiet: a hundred tests say too little."""

from synthesis import Lease

ALIVE = [Lease(k * 0.1, 0.05) for k in range(200)]
FIRES = {"leases": [*ALIVE, *(Lease(30.0 + k, 0.01, end="invalidated") for k in range(3))]}
SEVERITY, SAYS = "warning", "3 connections handed out dead"
QUIET = {"leases": [Lease(k * 0.1, 0.05, ping=0.001) for k in range(100)], "settings": {"pre_ping": True}}
