"""Twice the load that two connections can take; quiet: twice the connections."""

from synthesis import through_pool

WORK = [(k * 0.025, 0.1) for k in range(400)]
FIRES = {
    "leases": through_pool(WORK, size=2, timeout=0.5),
    "settings": {"pool_size": 2, "max_overflow": 0, "pool_timeout_s": 0.5},
}
SEVERITY, SAYS = "error", "of 400 timed out"
QUIET = {"leases": through_pool(WORK, size=5, timeout=0.5), "settings": {"pool_size": 5, "max_overflow": 0}}
