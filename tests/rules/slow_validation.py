"""One ping in fifty fails and the request opens a connection; quiet: fast pings that succeed."""

from synthesis import Lease

FIRES = {
    "leases": [Lease(k * 0.1, 0.05, ping=0.001, connect=0.01 if k % 50 == 0 else 0.0) for k in range(200)],
    "settings": {"pre_ping": True},
}
SEVERITY, SAYS = "error", "4 of 200 pre-pings failed"
QUIET = {"leases": [Lease(k * 0.1, 0.05, ping=0.001) for k in range(200)], "settings": {"pre_ping": True}}
