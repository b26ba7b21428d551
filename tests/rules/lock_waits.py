"""Two leases queue for a row that a third holds, idle; quiet: one waits for a blink among busy ones."""

from synthesis import Lease

HOLDER = Lease(0.5, 8.0, backend_pid=70, connection=1, site="app.py:7 reserves")
WAITERS = [Lease(1.0, 7.5, backend_pid=71 + n, connection=2 + n, site="app.py:30 buys") for n in range(2)]


def seen(at):
    head = {"pid": 70, "state": "idle in transaction", "transaction_s": at - 0.5, "query": "update stock set n = n - ?"}
    tail = [
        {"pid": pid, "state": "active", "wait": "Lock:transactionid", "state_s": at - 1.0, "blocked_by": [pid - 1]}
        for pid in (71, 72)
    ]
    return {"at": at, "active": 2, "lock_waits": 2, "backends": [head, *tail]}


BLINK = {"pid": 71, "state": "active", "wait": "Lock:tuple", "state_s": 0.01, "blocked_by": [70]}
FIRES = {"leases": [HOLDER, *WAITERS], "around": {"server.jsonl": [seen(at) for at in range(2, 8)]}, "duration": 9.0}
SEVERITY, SAYS = (
    "error",
    "2 sessions waited for a lock at once, for up to 6.00 s; at the head is app.py:7 reserves, idle",
)
QUIET = {
    "leases": [HOLDER, *WAITERS],
    "around": {"server.jsonl": [{"at": at, "active": 2, "backends": [BLINK] if at == 4 else []} for at in range(2, 8)]},
    "duration": 9.0,
}
