"""Report: all that any output format needs, and nothing else. Finding: one thing wrong, with its evidence.

In: nothing. Out: frozen dataclasses whose field names are the JSON keys of DESIGN.md section 5; `Report.to_json` and
`Report.from_json` are exact inverses. Nothing here computes a statistic. Times are seconds, rates per second.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from poolctl.trace.pool_metrics import PoolMetrics

SCHEMA = "poolctl.report/1"


class Severity(StrEnum):
    """How bad a finding is. Ordered by `rank`."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info up to 3 for critical."""
        return list(Severity).index(self)


class Outcome(StrEnum):
    """What a check says. Without enough data: inconclusive, never passed."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Dist:
    """A distribution. A quantile that `count` does not support is None (DESIGN.md section 5)."""

    count: int
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    ci95_p95: tuple[float, float] | None = None
    """95 % interval of the p95; honest about autocorrelation."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Which run this is."""

    id: str
    path: str
    scenario: str | None
    seed: int | None
    started_at: str
    """ISO 8601, UTC."""
    duration_s: float
    processes: int


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The pool as configured. None: the pool class has no such setting."""

    pool_size: int | None = None
    max_overflow: int | None = None
    pool_timeout_s: float | None = None
    pool_recycle_s: float | None = None
    pre_ping: bool | None = None
    lifo: bool | None = None

    @property
    def capacity(self) -> float | None:
        """pool_size + max_overflow; infinite when unlimited; None when the pool has no size."""
        if self.pool_size is None or self.max_overflow is None:
            return None
        return float("inf") if self.max_overflow < 0 or self.pool_size == 0 else self.pool_size + self.max_overflow


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The database server when the run began. None: could not be seen."""

    version: str | None = None
    max_connections: int | None = None
    reserved_connections: int | None = None
    in_use: int | None = None
    """Sessions of others, poolctl's own excluded."""
    cores: int | None = None
    """Cores of the server's machine, where that is known: the embedded server's, or one on this machine."""
    idle_timeout_s: float | None = None
    """The server closes a session that was idle for so long (idle_session_timeout; MySQL: wait_timeout); None: never,
    or unknown."""
    interactive_timeout_s: float | None = None
    """The same for interactive clients (MySQL)."""
    idle_in_transaction_timeout_s: float | None = None
    statement_timeout_s: float | None = None
    lock_timeout_s: float | None = None
    max_used_connections: int | None = None
    """Most sessions at once since the server started (MySQL)."""
    uptime_s: float | None = None
    replica: bool | None = None
    """It takes no writes: a standby, or read_only."""


@dataclass(frozen=True, slots=True)
class ProxyInfo:
    """The pooler between the application and the server, as it is configured. None: no limit, or not to be seen."""

    name: str = "PgBouncer"
    version: str | None = None
    pool_mode: str | None = None
    """session | transaction | statement."""
    default_pool_size: int | None = None
    """Server connections it opens for one database and user."""
    reserve_pool_size: int | None = None
    max_client_conn: int | None = None
    max_db_connections: int | None = None
    client_idle_timeout_s: float | None = None
    """It closes the connections of clients that are idle for so long: those of the application's pool."""
    idle_transaction_timeout_s: float | None = None
    query_timeout_s: float | None = None
    query_wait_timeout_s: float | None = None
    """A query that waits so long for a server connection is refused, and its client's connection closed."""
    server_idle_timeout_s: float | None = None
    """It closes its own idle connections to the server after so long: the application does not see that."""
    server_lifetime_s: float | None = None


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What was watched."""

    dialect: str
    driver: str
    pool_class: str
    settings: PoolSettings
    server: ServerInfo = ServerInfo()
    proxy: ProxyInfo | None = None
    """None: none was looked at."""


@dataclass(frozen=True, slots=True)
class LoadInfo:
    """What the generator offered and did."""

    offered_per_s: float
    achieved_per_s: float
    arrivals: int
    skipped: int
    start_lag_s: Dist
    loop_cpu: float | None = None
    """Share of one core used by the busiest worker's loop thread."""


@dataclass(frozen=True, slots=True)
class ValidityCheck:
    """One check of the run itself. A failed one makes every objective inconclusive."""

    check: str
    ok: bool
    value: float | None
    limit: float | None
    detail: str = ""
    """One sentence for a person, with the numbers."""


@dataclass(frozen=True, slots=True)
class LeaseCounts:
    """How the leases ended. Sums to total."""

    total: int = 0
    returned: int = 0
    timed_out: int = 0
    cancelled: int = 0
    failed: int = 0
    invalidated: int = 0
    detached: int = 0
    abandoned: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """Where the time went."""

    acquire_time_s: Dist
    wait_time_s: Dist
    connect_time_s: Dist
    ping_time_s: Dist
    hold_time_s: Dist
    sql_time_s: Dist
    idle_in_hold_s: Dist
    checkin_time_s: Dist
    response_time_s: Dist | None = None
    """Load test only: intended start to end of an operation."""


@dataclass(frozen=True, slots=True)
class PoolPoint:
    """The pool in one slice of the time line: maxima in the slice, except the mean."""

    at_s: float
    """Start of the slice, seconds since the run began."""
    arrivals: int
    checked_out: int
    mean_checked_out: float
    overflow: int
    waiting: int | None
    """None: the source (a log) does not tell."""
    timed_out: int
    p95_wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """The pool over the run."""

    peak_checked_out: int
    peak_overflow: int | None
    peak_waiting: int | None
    """Both None where the source (a log) does not tell."""
    mean_checked_out: float
    utilisation: float | None
    """Mean checked out ÷ capacity; None when unlimited."""
    connects_per_1000: float | None
    """Connections opened per 1,000 checkouts."""
    timeline: list[PoolPoint] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One site (line of code) under one context (transaction or endpoint)."""

    site: str
    """`file:line function`."""
    context: str | None
    leases: int
    hold_time_s: Dist
    hold_share: float | None
    """Its share of all holding."""
    sql_share: float | None
    """sql_time ÷ hold_time."""
    wait_caused_s: float | None
    """Waiting of others while it held, split evenly among the holders, in seconds."""


@dataclass(frozen=True, slots=True)
class LongLease:
    """One lease that was held for longer than the p95 of hold_time."""

    site: str
    """`file:line function`."""
    context: str | None
    acquired_at_s: float
    """Seconds since the run began."""
    hold_time_s: float
    """Of an open one, so far."""
    sql_share: float | None
    end: str
    """One of the ends of a lease; `open`: still held when the window ended."""
    process: int
    backend_pid: int | None
    """The server's name for the connection; None where the driver does not tell."""
    server: str = ""
    """What the server saw it do most of the time; empty where it was not watched, or never caught in the act."""


@dataclass(frozen=True, slots=True)
class BackendRow:
    """What the server said of one of its sessions: of a lease still open, of one that waits for a lock, or of who has
    it. None: not to be seen."""

    backend_pid: int
    site: str | None
    """The line that held its connection; None: no lease that was watched."""
    context: str | None
    end: str | None
    """How that lease ended: `open`, `leaked`, or one of the other ends."""
    hold_time_s: float | None
    """Of an open one, so far."""
    at_s: float
    """When it was seen: seconds since the run began."""
    application: str
    """application_name, or the user."""
    state: str | None
    """active | idle | idle in transaction | …"""
    wait: str | None
    """What it waits for, in the server's words."""
    transaction_s: float | None
    """The age of its transaction."""
    query: str
    """Its last statement, without literals."""
    blocked_by: list[int]
    """The backends that it waits for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong (or worth knowing), with its evidence."""

    code: str
    """`PC` and three digits."""
    slug: str
    severity: Severity
    confidence: str
    """low | medium | high."""
    title: str
    """One sentence, with the decisive number."""
    evidence: list[str]
    """Numbers, each with the threshold used."""
    advice: str
    """The exact setting or line."""
    sites: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ObjectiveResult:
    """One objective, judged."""

    objective: str
    value: float | None
    ci: tuple[float, float] | None
    verdict: Outcome
    reason: str = ""
    """Why inconclusive, or empty."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one size."""

    pool_size: int
    max_overflow: int
    wait_time_s: Dist
    timeout_rate: float
    utilisation: float | None
    connections: int
    """Connections opened at the peak, all processes."""
    meets: bool | None = None
    """Whether the objective holds there; None without one."""
    response_time_s: Dist | None = None
    """Wait + hold: more connections may move the queue from the pool into the database, and this shows it."""
    connects: int | None = None
    """Connections opened over the run, all processes."""


@dataclass(frozen=True, slots=True)
class RuleOfThumb:
    """What a common rule would have set, and what the model predicts for it."""

    rule: str
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Backtest:
    """The model's prediction of the run it came from, beside the measurement."""

    predicted_p95_wait_s: float | None
    measured_p95_wait_s: float | None
    predicted_timeout_rate: float | None
    measured_timeout_rate: float | None
    error: float | None
    """|ln((predicted + 5 ms) / (measured + 5 ms))| of the p95 wait."""
    ok: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """A run on the same arrivals at other settings, beside its prediction (`--verify`, `--sweep`)."""

    run_id: str
    settings: PoolSettings
    predicted: Prediction | None
    measured_wait_time_s: Dist
    measured_timeout_rate: float
    met: bool | None


@dataclass(frozen=True, slots=True)
class Across:
    """One run, predicted from another one, beside its measurement."""

    run_id: str
    settings: PoolSettings
    from_run: str
    """The run whose leases the model was fitted to."""
    backtest: Backtest


@dataclass(frozen=True, slots=True)
class Sizing:
    """The recommendation, or the reason why there is none."""

    objective: str
    recommended: PoolSettings | None
    confidence: str
    """low | medium | high | none."""
    reason: str
    """One sentence: why this size, or why no advice is given."""
    backtest: Backtest | None
    predictions: list[Prediction] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the advice holds for, and what it does not."""
    verified: Verified | None = None
    """The recommendation, tried."""
    model: str = ""
    """constant holds | database (holds that grow with concurrency) | "" where none was run."""
    knee: int | None = None
    """Connections per process beyond which the database only gets slower; None: not reached, or not known."""
    rules_of_thumb: list[RuleOfThumb] = field(default_factory=list)
    measured: list[Verified] = field(default_factory=list)
    """Every run that was made to prove or to correct the predictions, one entry a run."""
    corrected: str = ""
    """How measurements changed the recommendation; empty: they did not."""
    across: list[Across] = field(default_factory=list)
    """With several runs: each predicted from the others."""
    no_size: bool = False
    """No pool size meets the objective: an answer, where `recommended` is otherwise missing for want of evidence."""


@dataclass(frozen=True, slots=True)
class CaptureInfo:
    """What capture did, and could not do."""

    events: int = 0
    dropped: int = 0
    errors: int = 0
    overhead: float | None = None
    """Share of the hold and acquire time spent in capture's own code, estimated in the run."""
    blind: list[str] = field(default_factory=list)
    """What this source cannot tell, one line each."""
    compiled: bool | None = None
    """Whether it ran as machine code in every process; null: this source does not tell."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about one run that a person or a program is shown."""

    command: str
    verdict: str
    """One of the verdicts (`too small`, `oversized`, `healthy`, …)."""
    summary: str
    """The verdict in a sentence, with its numbers: the first line of every format."""
    exit_code: int
    run: RunInfo
    target: TargetInfo
    load: LoadInfo | None
    validity: list[ValidityCheck]
    leases: LeaseCounts
    times: Times
    pool: PoolInfo
    sites: list[SiteRow]
    findings: list[Finding]
    objectives: list[ObjectiveResult]
    sizing: Sizing | None
    capture: CaptureInfo
    evidence: list[str] = field(default_factory=list)
    """What speaks for the verdict, and what rules the others out: one line each, with numbers and thresholds."""
    confidence: str = ""
    """low | medium | high: how sure the verdict is; empty in reports of earlier versions."""
    next_step: str = ""
    """The one thing to do now."""
    culprits: list[str] = field(default_factory=list)
    """The lines of code that the verdict is about, the worst first."""
    long_leases: list[LongLease] = field(default_factory=list)
    """The leases above the p95 of hold_time, the longest first, at most twenty."""
    backends: list[BackendRow] = field(default_factory=list)
    """What the server said of leases still open or waiting for a lock, and of who blocks them; at most twenty."""
    server_blind: list[str] = field(default_factory=list)
    """What could not be seen of the server, one line each."""
    fail_on: str | None = None
    """Severity from which a finding failed the gate."""
    metrics: list[PoolMetrics] = field(default_factory=list)
    """Each pool's numbers, for those who collect such: OpenMetrics and OTLP are written from them."""
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; NaN and infinities become null. `load` and `sizing` are left out when absent."""
        data: dict[str, Any] = plain(self)
        data = {"schema": data.pop("schema"), **data}
        return {key: value for key, value in data.items() if not (key in ("load", "sizing") and value is None)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Report:
        """Rebuild a report from `to_json`; unknown keys are ignored, so newer minor versions stay readable."""
        report: Report = build(cls, {"load": None, "sizing": None, **data})
        return report


def plain(value: Any) -> Any:
    """Return a record of ours as plain JSON data; NaN and infinities become None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value.value if isinstance(value, StrEnum) else value


def build(kind: Any, data: Any) -> Any:
    """Rebuild a record of this type from plain JSON data; unknown keys are ignored."""
    if data is None:
        return None
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return build(next(arg for arg in args if arg is not type(None)), data)
    if origin is list:
        return [build(args[0], item) for item in data]
    if origin is tuple:
        return tuple(data)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{f.name: build(hints[f.name], data[f.name]) for f in dataclasses.fields(kind) if f.name in data})
    return kind(data) if isinstance(kind, type) and issubclass(kind, StrEnum | float) else data
