"""A process in which a thread always wants to run; quiet: one that rests at every third look."""

from synthesis import EPOCH, PID, Lease


def looks(wanted):
    return [
        {
            "at": k * 0.5,
            "pid": PID,
            "from_ns": EPOCH + k * 500_000_000,
            "to_ns": EPOCH + (k + 1) * 500_000_000,
            "wanted": wanted,
        }
        for k in range(20)
    ]


LEASES = [Lease(k * 0.1, 0.05, wait=0.2) for k in range(100)]
FIRES = {"leases": LEASES, "around": {"processes.jsonl": looks(1.0)}}
SEVERITY, SAYS = "warning", "had no moment to spare for 10.0 s"
QUIET = {"leases": LEASES, "around": {"processes.jsonl": looks(0.6)}}
