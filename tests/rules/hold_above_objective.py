"""A tenth of the holds take 40 s; quiet: 20 s."""

from synthesis import Lease

LEASES = [Lease(k * 1.0, 40.0 if k % 10 == 0 else 0.1, sql=0.05, site=f"app.py:{k % 10} work") for k in range(100)]
FIRES = {"leases": LEASES}
SEVERITY, SAYS = "warning", "p95 hold time is 40.0 s, its objective 30.0 s"
QUIET = {"leases": [Lease(k * 1.0, 20.0 if k % 10 == 0 else 0.1) for k in range(100)]}
