"""Demand: what a recorded run asked of its pools, apart from the pool that it met.

In: the `leases` table (and `operations`, for work the generator skipped). Out: per process the instants of the
requests and, for each, a mark: which recorded lease it does over again once it has its connection. Knows nothing of
sizes. Requests that timed out, were cancelled or failed keep their instant; what they would have done is drawn from
the leases of the same site and context.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from poolctl.analysis.pool_rules import Floats, Ints, Work

CONNECT_S = 0.005
"""Cost of a new connection where the run saw none opened (measured: 3 ms idle, 5–20 ms under load)."""
SEEN_WHOLE = ("returned", "invalidated", "detached", "abandoned")
"""Ends of a lease whose hold was seen from checkout to its end."""


@dataclass(frozen=True)
class Marks:
    """What leases did once they had a connection: one entry a mark."""

    hold_s: Floats
    """How long they kept the slot, ping and reset included, connect not; seconds."""
    site: Ints
    """A number for site and context."""
    donors: dict[int, Ints]
    """The marks of a site that were seen whole."""
    connect_s: Floats
    """Connects that were seen, to draw from; seconds."""
    close_s: float = 0.0
    """Mean cost of closing an overflow connection, seconds."""
    connects_seen: bool = False
    """`connect_s` are of the run, and no guess."""

    def like(self, marks: Ints, random: np.random.Generator) -> Ints:
        """Return for each mark another of the same site and context, drawn at random."""
        drawn = marks.copy()
        sites = self.site[marks]
        for site in np.unique(sites):
            where = np.flatnonzero(sites == site)
            drawn[where] = random.choice(self.donors[int(site)], len(where))
        return drawn


@dataclass(frozen=True)
class Demand:
    """The requests of one process to its pool, in order of time."""

    process: int
    at_s: Floats
    mark: Ints
    marks: Marks
    warm: int = 0
    """Connections that were open before the first request."""
    measured_wait_s: Floats = field(default_factory=lambda: np.empty(0))
    """What the requests waited in the run; NaN for work the generator never started."""
    measured_timed_out: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    client: Ints | None = None
    """Closed loop: the client of each request; None: an open model, or clients that were not recorded."""
    ended_s: Floats = field(default_factory=lambda: np.empty(0))
    """Closed loop: when each request was over in the run, whatever its end."""

    @cached_property
    def work(self) -> Work:
        """The work for the pool model; connect costs are drawn from those seen."""
        drawn = np.random.default_rng(self.process).choice(self.marks.connect_s, len(self.at_s))
        following, think = (None, None) if self.client is None else self._chains(self.client)
        return Work(
            self.at_s, self.marks.hold_s[self.mark], drawn, self.marks.close_s, next_request=following, think_s=think
        )

    def blank(self) -> Demand:
        """Return this demand without what was measured of its very requests: the ground for another one."""
        nothing = np.empty(0)
        unknown = np.empty(0, dtype=np.bool_)
        return replace(self, measured_wait_s=nothing, measured_timed_out=unknown, client=None, ended_s=nothing)

    def _chains(self, client: Ints) -> tuple[Ints, Floats]:
        """Return each request's next one by the same client, and the pause that came before each request."""
        order = np.lexsort((self.at_s, client))
        same = client[order][1:] == client[order][:-1]
        following = np.full(len(client), -1, dtype=np.int64)
        following[order[:-1][same]] = order[1:][same]
        think = np.zeros(len(client))
        think[order[1:][same]] = np.maximum(self.at_s[order[1:][same]] - self.ended_s[order[:-1][same]], 0)
        return following, think


@dataclass(frozen=True)
class Recorded:
    """A run as sizing sees it."""

    demands: list[Demand]
    duration_s: float
    """From the first request to the last end."""
    skipped: int
    """Operations that the generator never started; they are in the demand."""
    other_pools: int
    """Leases of other pools of the same processes, not in the demand."""
    rows: pd.DataFrame
    """The leases behind the marks: mark n is row n."""
    cold_s: float = 0.0
    """What probes saw the first statement on a new connection cost more; seconds."""
    probed_connect_s: Floats = field(default_factory=lambda: np.empty(0))
    """Connects that probes saw, where the run has too few of its own; seconds."""

    @property
    def requests(self) -> int:
        """Requests of all processes."""
        return sum(len(demand.at_s) for demand in self.demands)


def read_demand(
    leases: pd.DataFrame, operations: pd.DataFrame | None = None, seed: int = 0, closed: bool = False
) -> Recorded | None:
    """Return the demand of the busiest pool of each process; None when no lease was seen whole.

    `closed` says that the requests came from clients that wait for each answer, so that `client` chains them.
    """
    if leases.empty:
        return None
    pool = leases.groupby("pool").size().idxmax() if "pool" in leases else None
    chosen = leases if pool is None else leases[leases["pool"] == pool]
    chosen = chosen.sort_values("requested_at_s", kind="stable")
    whole = chosen["end"].astype(str).isin(SEEN_WHOLE).to_numpy() & np.isfinite(_floats(chosen, "hold_time_s"))
    if not whole.any():
        return None
    random = np.random.default_rng(seed)
    site, names = _sites(chosen)
    marks = _marks(chosen, whole, site)
    mark = np.arange(len(chosen), dtype=np.int64)
    last = float(np.nanmax(chosen[["requested_at_s", "acquired_at_s", "ended_at_s"]].to_numpy(dtype=float)))
    mark[~whole] = marks.like(mark[~whole], random)
    marks = _open_leases_last(marks, mark, chosen, last)
    demands = [_of_process(chosen, mark, marks, int(process), closed) for process in pd.unique(chosen["process"])]
    skipped = _skipped(operations)
    demands = _add_skipped(demands, skipped, names, random)
    first = float(chosen["requested_at_s"].iloc[0])
    return Recorded(demands, max(last - first, 1e-9), len(skipped), len(leases) - len(chosen), chosen)


def _floats(table: pd.DataFrame, column: str) -> Floats:
    if column not in table:
        return np.full(len(table), np.nan)
    return table[column].to_numpy(dtype=np.float64, na_value=np.nan)


def _sites(leases: pd.DataFrame) -> tuple[Ints, dict[str, int]]:
    """Number the pairs of site and context; also the first number of each context's name."""
    context, names = _codes(leases, "context")
    site, _ = _codes(leases, "site")
    numbers, pairs = pd.factorize(context * (int(site.max(initial=0)) + 1) + site)
    context_of = pairs // (int(site.max(initial=0)) + 1)
    first: dict[str, int] = {}
    for number, code in enumerate(context_of.tolist()):
        first.setdefault(names[code], number)
    return numbers.astype(np.int64), first


def _codes(leases: pd.DataFrame, column: str) -> tuple[Ints, list[str]]:
    """Number a column of names from 0; a missing name is a name too."""
    if column not in leases:
        return np.zeros(len(leases), dtype=np.int64), [""]
    values = leases[column].astype("category").cat
    numbers: Ints = values.codes.to_numpy().astype(np.int64) + 1
    return numbers, ["", *map(str, values.categories)]


def _marks(leases: pd.DataFrame, whole: npt.NDArray[np.bool_], site: Ints) -> Marks:
    ping = np.nan_to_num(_floats(leases, "ping_time_s"))
    hold = np.nan_to_num(_floats(leases, "hold_time_s")) + ping
    all_whole = np.flatnonzero(whole)
    donors = {}
    for number in np.unique(site):
        same = np.flatnonzero(whole & (site == number))
        donors[int(number)] = same if len(same) else all_whole
    connect = _floats(leases, "connect_time_s")
    connect = connect[np.isfinite(connect) & (connect > 0)]
    return Marks(
        hold,
        site,
        donors,
        connect if len(connect) else np.array([CONNECT_S]),
        float(np.mean(connect)) / 3 if len(connect) else 0.0,
        bool(len(connect)),
    )


def _open_leases_last(marks: Marks, mark: Ints, leases: pd.DataFrame, last: float) -> Marks:
    """A lease still open at the end of the run held at least until then."""
    still = np.flatnonzero(
        (leases["end"].astype(str) == "open").to_numpy() & np.isfinite(_floats(leases, "acquired_at_s"))
    )
    if not len(still):
        return marks
    hold = marks.hold_s.copy()
    hold[still] = np.maximum(hold[mark[still]], last - _floats(leases, "acquired_at_s")[still])
    mark[still] = still
    return replace(marks, hold_s=hold)


def _of_process(leases: pd.DataFrame, mark: Ints, marks: Marks, process: int, closed: bool) -> Demand:
    mine = (leases["process"] == process).to_numpy()
    rows = leases[mine]
    at = _floats(rows, "requested_at_s")
    end = rows["end"].astype(str).to_numpy()
    ended = np.fmax(_floats(rows, "ended_at_s"), at)
    wait = _floats(rows, "wait_time_s")
    never = np.isnan(_floats(rows, "acquired_at_s"))
    wait = np.where(np.isnan(wait) & never, ended - at, wait)
    client = rows["client"].to_numpy(dtype=np.int64) if "client" in rows else np.zeros(len(rows), dtype=np.int64)
    return Demand(
        process,
        at,
        mark[mine],
        marks,
        _warm(rows),
        wait,
        end == "timed_out",
        client if closed and _one_at_a_time(client, at, ended) else None,
        ended,
    )


def _one_at_a_time(client: Ints, at: Floats, ended: Floats) -> bool:
    """Whether each client's requests follow one another: else the numbers do not say who asked."""
    order = np.lexsort((at, client))
    same = client[order][1:] == client[order][:-1]
    overlaps = at[order][1:] < ended[order][:-1] - 1e-6
    return float(np.mean(overlaps & same)) < 0.05 if len(same) else True


def _warm(rows: pd.DataFrame) -> int:
    """Connections whose first lease in the run did not open them were there before it."""
    if "connection" not in rows or "fresh" not in rows:
        return 0
    served = rows[rows["connection"] > 0].sort_values("acquired_at_s", kind="stable")
    first = served.drop_duplicates("connection")
    return int((~first["fresh"].astype(bool)).sum())


def _skipped(operations: pd.DataFrame | None) -> pd.DataFrame:
    if operations is None or "outcome" not in operations or operations.empty:
        return pd.DataFrame()
    return operations[operations["outcome"].astype(str) == "skipped"]


def _add_skipped(
    demands: list[Demand], skipped: pd.DataFrame, names: dict[str, int], random: np.random.Generator
) -> list[Demand]:
    """Put work that was never started back at its intended instant: a short pool must not hide its own demand."""
    if skipped.empty:
        return demands
    grown = []
    for demand in demands:
        rows = skipped[skipped["process"] == demand.process]
        marks = demand.marks
        sites = [names.get(str(name), int(marks.site[0])) for name in rows["transaction"]]
        drawn = np.array([random.choice(marks.donors[site]) for site in sites], dtype=np.int64)
        at = rows["intended_at_s"].to_numpy(dtype=np.float64)
        unmeasured, no = np.full(len(rows), np.nan), np.zeros(len(rows), dtype=bool)
        order = np.argsort(np.concatenate([demand.at_s, at]), kind="stable")
        grown.append(
            replace(
                demand,
                at_s=np.concatenate([demand.at_s, at])[order],
                mark=np.concatenate([demand.mark, drawn])[order],
                measured_wait_s=np.concatenate([demand.measured_wait_s, unmeasured])[order],
                measured_timed_out=np.concatenate([demand.measured_timed_out, no])[order],
                client=None,
                ended_s=np.empty(0),
            )
        )
    return grown
