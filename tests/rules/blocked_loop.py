"""A holder computes for 400 ms, three times, while others wait for the database or for others; quiet: a short stop."""

from synthesis import Lease

AWAITING = [Lease(k + 0.14, 0.47, sql=[(0.01, 0.452)], site="app.py:3 waits", task=k + 10) for k in range(3)]
IDLE = [Lease(k + 0.13, 0.6, sql=[(0.0, 0.01), (0.55, 0.01)], site="app.py:5 idles", task=k + 20) for k in range(3)]
BLOCKING = [Lease(k + 0.15, 0.46, sql=[(0.0, 0.01), (0.45, 0.01)], site="app.py:7 works", task=k + 1) for k in range(3)]
LEASES = [*AWAITING, *IDLE, *BLOCKING]
FIRES = {"leases": LEASES, "lags": [(k + 0.603, 0.35) for k in range(3)]}
SEVERITY, SAYS = "warning", "the event loop stood still 3 times, for up to 350 ms"
QUIET = {"leases": LEASES, "lags": [(k + 0.603, 0.06) for k in range(3)]}
