"""Seven clients wait for two server connections in every sample; quiet: one waits, in one sample of ten."""

from synthesis import Lease


def seen(at, waiting, longest):
    pool = {"database": "shop", "user": "app", "cl_active": 2, "cl_waiting": waiting, "sv_active": 2, "sv_login": 0}
    return {"at": at, "pools": [{**pool, "maxwait_s": longest, "pool_size": 2}]}


LEASES = [Lease(1.0, 1.0)]
FIRES = {
    "leases": LEASES,
    "around": {"proxy.jsonl": [seen(at, 7, 0.9) for at in range(10)]},
    "proxy": {"default_pool_size": 2},
    "duration": 10.0,
}
SEVERITY, SAYS = "error", "PgBouncer's pool of 2 server connections for shop/app starves: up to 7 clients waited"
QUIET = {
    "leases": LEASES,
    "around": {"proxy.jsonl": [seen(at, int(at == 4), 0.9) for at in range(10)]},
    "proxy": {"default_pool_size": 2},
    "duration": 10.0,
}
