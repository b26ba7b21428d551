"""A cancelled lease's backend goes on for 6 s after the close; quiet: it is gone, and its number is another's."""

from synthesis import Lease

LEASES = [Lease(1.0, 1.0, end="cancelled", connect=0.01, backend_pid=77, connection=4)]


def seen(at, **backend):
    return {"at": at, "backends": [{"pid": 77, "state": "active", "query": "select pg_sleep(?)", **backend}]}


FIRES = {
    "leases": LEASES,
    "closed": [(2.0, 4)],
    "around": {"server.jsonl": [seen(at, age_s=at - 1.0) for at in range(1, 9)]},
    "duration": 10.0,
}
SEVERITY, SAYS = "warning", "1 session went on in the server for up to 6.00 s"
QUIET = {
    "leases": LEASES,
    "closed": [(2.0, 4)],
    "around": {"server.jsonl": [seen(2.5, age_s=1.5), seen(5.0, age_s=0.5), seen(6.0, age_s=1.5)]},
    "duration": 10.0,
}
