"""One of a hundred connections is never returned; the run goes on for a minute."""

from synthesis import Lease

RETURNED = [Lease(k * 0.5, 0.05) for k in range(100)]
FIRES = {
    "leases": [*RETURNED, Lease(5.0, None, end="open", site="app/leak.py:7 export", connection=9)],
    "duration": 60.0,
}
SEVERITY, SAYS = "error", "1 connection taken and never returned"
QUIET = {"leases": [*RETURNED, Lease(59.9, None, end="open", connection=9)], "duration": 60.0}
