"""A lease's backend sits in its transaction for 40 s; quiet: for 4 s, and then works as long."""

from synthesis import Lease

LEASES = [Lease(1.0, None, end="open", backend_pid=77, site="app.py:7 holds")]


def seen(at, state, lasted):
    backend = {"pid": 77, "state": state, "state_s": lasted, "transaction_s": lasted, "query": "select ? from t"}
    return {"at": at, "sessions": 1, "backends": [backend]}


IDLE = [seen(at, "idle in transaction", at - 2.0) for at in range(3, 43)]
BRIEF = [seen(at, *(("idle in transaction", at % 4) if at % 8 < 4 else ("active", at % 4))) for at in range(3, 43)]
FIRES = {"leases": LEASES, "around": {"server.jsonl": IDLE}, "duration": 45.0}
SEVERITY, SAYS = "warning", "1 session sat idle in an open transaction, for up to 40.0 s"
QUIET = {"leases": LEASES, "around": {"server.jsonl": BRIEF}, "duration": 45.0}
