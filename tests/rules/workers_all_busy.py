"""Three threads of a pool of ten, one lease after the other; quiet: with pauses as long as the holds."""

from synthesis import Lease


def work(each):
    return [Lease(k * each + n * 0.01, 0.095, task=n + 1, connection=n + 1) for n in range(3) for k in range(50)]


POOL = {"settings": {"pool_size": 10, "max_overflow": 0}, "pool_class": "QueuePool"}
FIRES = {"leases": work(0.1), **POOL}
SEVERITY, SAYS = "info", "all 3 threads that use the pool were busy with it 94.7 %"
QUIET = {"leases": work(0.2), **POOL}
