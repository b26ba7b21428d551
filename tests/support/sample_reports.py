"""Reports made by hand, as rich as a real one: a pool that was too small, and a quiet one with nothing to say."""

from __future__ import annotations

import dataclasses
import math

from poolctl.trace.pool_metrics import Histogram, PoolMetrics, PoolState
from poolctl.trace.report import (
    Backtest,
    CaptureInfo,
    Dist,
    Finding,
    LeaseCounts,
    LoadInfo,
    ObjectiveResult,
    Outcome,
    PoolInfo,
    PoolPoint,
    PoolSettings,
    Prediction,
    Report,
    RuleOfThumb,
    RunInfo,
    ServerInfo,
    Severity,
    SiteRow,
    Sizing,
    TargetInfo,
    Times,
    ValidityCheck,
    Verified,
)

TODAY = PoolSettings(pool_size=5, max_overflow=0, pool_timeout_s=1.0, pool_recycle_s=-1.0, pre_ping=False, lifo=False)
BEST = PoolSettings(pool_size=14, max_overflow=2, pool_timeout_s=5.0, pool_recycle_s=1800.0, pre_ping=None, lifo=None)


def dist(p50: float, p90: float, p95: float, p99: float, top: float, count: int = 1812) -> Dist:
    """A distribution whose p95 is known to 4 %."""
    return Dist(count, (p50 + p90) / 2, p50, p90, p95, p99, top, (p95 * 0.96, p95 * 1.04))


def too_small() -> Report:
    """Bursty load on 5 + 0 with a timeout of 1 s: queueing, timeouts, a recommendation that was verified."""
    return Report(
        command="loadtest",
        verdict="too small",
        summary="The pool is too small: 23.1 % of 1,812 requests timed out after 1 s and the p95 wait was 998 ms "
        "with all 5 connections in use 61 % of the time.",
        exit_code=1,
        run=RunInfo(
            "20251121-024512-ab12",
            "/srv/shop/.poolctl/runs/20251121-024512-ab12",
            "bursty",
            7,
            "2025-11-21T02:45:12+00:00",
            30.0,
            1,
        ),
        target=TargetInfo("postgresql", "asyncpg", "AsyncAdaptedQueuePool", TODAY, ServerInfo("18.1", 100, 3, 12)),
        load=LoadInfo(60.4, 60.2, 1812, 0, Dist(1812, 0.0002, 0.00012, 0.0003, 0.00042, 0.0017, 0.0061), 0.187),
        validity=[
            ValidityCheck("start lag", True, 0.0017, 0.010, "p99 start lag 1.70 ms, at most 10 ms"),
            ValidityCheck("offered rate", True, 0.997, 0.98, "the generator reached 99.7 % of the offered rate"),
            ValidityCheck("capture", True, 0.0, 0.0),
        ],
        leases=LeaseCounts(total=1812, returned=1391, timed_out=418, cancelled=3),
        times=Times(
            acquire_time_s=dist(0.412, 0.961, 0.999, 1.0, 1.004),
            wait_time_s=dist(0.411, 0.960, 0.998, 1.0, 1.003),
            connect_time_s=Dist(5, 0.0031, 0.003, max=0.0048),
            ping_time_s=Dist(0),
            hold_time_s=dist(0.0312, 0.144, 0.212, 0.371, 0.522, 1391),
            sql_time_s=dist(0.0071, 0.021, 0.0305, 0.0611, 0.09, 1391),
            idle_in_hold_s=dist(0.0226, 0.118, 0.181, 0.32, 0.48, 1391),
            checkin_time_s=dist(0.00031, 0.00052, 0.0007, 0.0012, 0.0031, 1391),
            response_time_s=dist(0.458, 1.02, 1.11, 1.31, 1.49),
        ),
        pool=PoolInfo(5, 0, 163, 3.71, 0.742, 3.6, _timeline()),
        sites=[
            SiteRow(
                "scenarios/bursty.py:41 checkout",
                "checkout",
                412,
                dist(0.0911, 0.188, 0.248, 0.401, 0.522, 412),
                0.618,
                0.113,
                201.4,
            ),
            SiteRow(
                "scenarios/bursty.py:58 browse",
                "browse",
                871,
                dist(0.0212, 0.051, 0.0713, 0.12, 0.21, 871),
                0.297,
                0.402,
                88.2,
            ),
            SiteRow(
                "/srv/shop/application/services/inventory/reservations.py:118 reserve_all_items",
                None,
                108,
                Dist(108, 0.02, 0.02, 0.04, 0.05),
                0.085,
                0.71,
                None,
            ),
        ],
        findings=[
            Finding(
                "PC301",
                "idle-in-hold",
                Severity.WARNING,
                "medium",
                "The transaction checkout holds its connection 88.7 % of the time without using it.",
                ["idle-in-hold p95 181 ms of a p95 hold of 248 ms (threshold: half of the hold)"],
                "Take the connection after the call to the payment service, or give it back before.",
                ["scenarios/bursty.py:41 checkout"],
            ),
            Finding(
                "PC201",
                "pool-too-small",
                Severity.ERROR,
                "high",
                "418 of 1,812 requests (23.1 %) timed out: 5 connections were in use and up to 163 requests waited.",
                [
                    "p95 acquire 999 ms (alert above 200 ms)",
                    "all 5 connections checked out 61 % of the time (alert above 85 % mean)",
                ],
                "pool_size=14, max_overflow=2",
            ),
        ],
        objectives=[
            ObjectiveResult("p95 wait < 50ms", 0.998, (0.98, 1.0), Outcome.FAIL),
            ObjectiveResult("rate timeouts < 0.1%", 0.2307, (0.21, 0.25), Outcome.FAIL),
            ObjectiveResult("p99 hold < 2s", 0.371, (0.33, 0.44), Outcome.PASS),
            ObjectiveResult("p99 checkin < 10ms", None, None, Outcome.INCONCLUSIVE, "211 samples, p99 needs 299"),
            ObjectiveResult("count leaks == 0", 0.0, None, Outcome.PASS),
        ],
        sizing=Sizing(
            "p95 wait < 50ms",
            BEST,
            "high",
            "14 + 2 is the smallest pool that meets p95 wait < 50 ms with 30 % more load than was seen.",
            Backtest(0.991, 0.998, 0.226, 0.2307, 0.0069, ok=True),
            [_prediction(size, *numbers) for size, numbers in _PREDICTIONS.items()],
            ["valid for this load only: record at the daily peak before you rely on it"],
            Verified(
                "20251121-024611-cd34",
                BEST,
                _prediction((14, 2), 0.0213, 0.0, 0.31),
                dist(0.0, 0.004, 0.0232, 0.0419, 0.081),
                0.0,
                met=True,
            ),
            model="database",
            knee=21,
            rules_of_thumb=[
                RuleOfThumb("2 × cores + 1", _prediction((5, 0), 0.991, 0.226, 0.74)),
                RuleOfThumb("arrivals × mean hold", _prediction((6, 0), 0.822, 0.101, 0.69)),
            ],
        ),
        evidence=[
            "event loop: 1.14 % of the waiting was with a connection free (threshold 50.0 %)",
            "database: SQL took 14.4 % of the hold (threshold 50.0 %)",
        ],
        capture=CaptureInfo(9871, 0, 0, 0.0041, ["what other processes do with the same database"]),
        metrics=[_metrics()],
    )


def _metrics() -> PoolMetrics:
    bounds = [0.01, 0.1, 1.0]
    return PoolMetrics(
        name="127.0.0.1:5432/shop",
        processes=1,
        max=5,
        idle_max=5,
        checkouts=1394,
        checkins=1394,
        connects=5,
        closes=0,
        timeouts=418,
        create_time_s=Histogram(bounds, [5, 0, 0, 0], 0.016, 0.002, 0.005),
        wait_time_s=Histogram(bounds, [200, 194, 1000, 0], 611.2, 0.0, 1.0),
        use_time_s=Histogram(bounds, [310, 900, 184, 0], 91.7, 0.001, 0.81),
        series=[PoolState(15.0, 5, 0, 163), PoolState(30.0, 1, 4, 0)],
    )


_PREDICTIONS = {
    (5, 0): (0.991, 0.226, 0.74),
    (8, 0): (0.412, 0.031, 0.52),
    (12, 0): (0.0481, 0.0002, 0.36),
    (14, 2): (0.0213, 0.0, 0.31),
    (25, 0): (0.0, 0.0, 0.17),
}


def _prediction(size: tuple[int, int], p95: float, timeouts: float, use: float) -> Prediction:
    return Prediction(
        *size,
        Dist(1812, p95 / 4, p95 / 5, p95 / 2, p95, p95 * 1.2, p95 * 1.5),
        timeouts,
        use,
        sum(size),
        meets=p95 < 0.05,
        response_time_s=Dist(1812, 0.05 + p95 / 4, 0.05, 0.1 + p95, 0.21 + p95, 0.4 + p95, 0.6 + p95),
        connects=sum(size) + 3,
    )


def _timeline() -> list[PoolPoint]:
    points = []
    for i in range(120):
        burst = max(0.0, math.sin(i / 9)) ** 2
        waiting = int(163 * max(0.0, burst - 0.35) / 0.65)
        held = 5 if burst > 0.3 else int(1 + burst * 10)
        points.append(
            PoolPoint(i * 0.25, int(2 + 40 * burst), held, held * 0.8, 0, waiting, int(12 * max(0.0, burst - 0.7)))
        )
    return points


def quiet() -> Report:
    """A short run without load facts, sites, findings, objectives or advice: every optional part is missing."""
    nothing = Dist(0)
    few = Dist(12, 0.01, 0.009, max=0.02)
    full = too_small()
    return dataclasses.replace(
        full,
        command="diagnose",
        verdict="healthy",
        summary="Healthy: nobody waited for a connection in 12 requests.",
        exit_code=0,
        run=dataclasses.replace(full.run, scenario=None, seed=None, duration_s=2.0),
        target=TargetInfo("sqlite", "aiosqlite", "StaticPool", PoolSettings()),
        load=None,
        validity=[],
        leases=LeaseCounts(12, 12),
        times=Times(few, nothing, nothing, nothing, few, few, few, nothing),
        pool=PoolInfo(1, 0, 0, 0.2, None, None),
        sites=[],
        findings=[],
        objectives=[],
        sizing=None,
        evidence=[],
        capture=CaptureInfo(60),
        metrics=[],
    )
