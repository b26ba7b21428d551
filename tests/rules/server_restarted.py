"""The uptime begins anew at second 5; quiet: it grows, while one of four connections is lost."""

from synthesis import Lease


def seen(at, uptime):
    return {"at": at, "uptime_s": uptime, "replica": False, "connects": 1, "backends": []}


LEASES = [Lease(1.0, 4.0, connection=n, end="invalidated" if n == 1 else "returned") for n in range(1, 5)]
FIRES = {
    "leases": LEASES,
    "around": {"server.jsonl": [seen(at, 100.0 + at if at < 5 else at - 5.0) for at in range(10)]},
    "duration": 10.0,
}
SEVERITY, SAYS = "error", "at second 5.0 of the run the server broke off: it was restarted"
QUIET = {
    "leases": LEASES,
    "around": {"server.jsonl": [seen(at, 100.0 + at) for at in range(10)]},
    "duration": 10.0,
}
