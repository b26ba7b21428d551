"""PgBouncer closes two idle clients, and a lease finds out; quiet: clients that go by themselves."""

from synthesis import Lease

LEASES = [Lease(1.0, 0.1), Lease(4.1, 0.1, end="invalidated")]


def closed(at, reason, side="C"):
    return {"at": at, "what": "closed", "reason": reason, "side": side, "database": "shop", "user": "app"}


FIRES = {
    "leases": LEASES,
    "around": {"proxy-log.jsonl": [closed(4.0, "client_idle_timeout"), closed(4.2, "client_idle_timeout")]},
    "duration": 6.0,
}
SEVERITY, SAYS = "error", "PgBouncer closed 2 connections (client_idle_timeout), and 1 connection in use"
OWN = [
    closed(4.0, "client close request"),
    closed(4.1, "client unexpected eof"),
    closed(4.2, "server idle timeout", "S"),
]
QUIET = {"leases": LEASES, "around": {"proxy-log.jsonl": OWN}, "duration": 6.0}
