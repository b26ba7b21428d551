"""Two of three connections are held for long by one of the sites while the others queue; quiet: all alike."""

from synthesis import through_pool

WORK = [(k * 0.05, 1.2 if k % 10 == 0 else 0.05) for k in range(300)]
SITE = {"site": lambda k: "app/report.py:9 export" if k % 10 == 0 else "app/orders.py:42 handler"}
FIRES = {"leases": through_pool(WORK, size=3, **SITE), "settings": {"pool_size": 3, "max_overflow": 0}}
SEVERITY, SAYS = "warning", "of the waiting was caused by app/report.py:9 export"
QUIET = {
    "leases": through_pool([(at, 0.17) for at, _ in WORK], size=3, **SITE),
    "settings": {"pool_size": 3, "max_overflow": 0},
}
