"""Two engines for one URL; quiet: one of them is for another database."""

from synthesis import Lease

LEASES = [Lease(k * 0.1, 0.05, pool=k % 2 + 1, connection=k % 2 + 1) for k in range(100)]
FIRES = {"leases": LEASES}
SEVERITY, SAYS = "warning", "2 engines for one URL: up to 30 connections a process, not 15"
QUIET = {"leases": LEASES, "pools": {2: {"url": "postgresql+asyncpg://db/analytics"}}}
