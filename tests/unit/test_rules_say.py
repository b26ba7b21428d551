"""What rules say beyond their two cases: who, where, since when, and what would be otherwise."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from synthesis import PID, Lease, through_pool, write_run

from poolctl.analysis import findings
from poolctl.analysis.leases import tables
from poolctl.analysis.objectives import parse
from poolctl.analysis.summary import target_of
from poolctl.analysis.view import View
from poolctl.policy import Policy
from poolctl.trace.report import Finding, PoolSettings, Severity, Sizing
from poolctl.units import parse_duration


def found(code: str, tmp_path: Path, *, policy: Policy | None = None, slo: str = "", **arguments: Any) -> list[Finding]:
    made = tables(write_run(tmp_path, **arguments))
    view = View(made, target_of(made), policy or Policy(), objectives=[parse(slo)] if slo else [])
    return list(findings.REGISTRY[code].check(view))


def said(code: str, tmp_path: Path, **arguments: Any) -> str:
    [finding] = found(code, tmp_path, **arguments)
    return "\n".join([finding.title, *finding.evidence, finding.advice])


def test_overflow_in_use_dumps_who_held_since_when_and_where(tmp_path: Path) -> None:
    old = [Lease(0.5 + k * 0.1, 5.0, site=f"app/report.py:{k} export", connection=k + 1, fresh=True, connect=0.01)
           for k in range(5)]  # fmt: skip
    young = [Lease(2.0, 0.5, fresh=True, connect=0.01, overflow=True, connection=k + 6) for k in range(4)]
    text = said("PC203", tmp_path, leases=old + young, settings={"pool_size": 5, "max_overflow": 10})
    assert "at 2.01 s, with 4 of the overflow open" in text
    assert f"held by app/report.py:0 export (checkout), since 0.51 s (1.50 s), process {PID}, backend 9000" in text
    assert "and by 4 more" in text


def test_nested_checkouts_come_with_both_stacks_and_the_floor(tmp_path: Path) -> None:
    outer, inner = "app/api.py:10 order", "app/audit.py:5 note"
    leases = [
        Lease(k + 0.1 * n, 0.1 if n else 0.5, task=k + 1, site=(outer, inner)[n]) for k in range(3) for n in (0, 1)
    ]
    stacks = {outer: [outer, "app/main.py:3 serve"], inner: [inner, "app/api.py:12 order", "app/main.py:3 serve"]}
    text = said("PC601", tmp_path, leases=leases, stacks=stacks, settings={"pool_size": 5, "max_overflow": 0})
    assert "holds: app/api.py:10 order < app/main.py:3 serve" in text
    assert "asks again: app/audit.py:5 note < app/api.py:12 order < app/main.py:3 serve" in text
    assert "1 × (2 − 1) + 1 = 2, the capacity is 5" in text


LEAK = Lease(5.0, None, end="open", site="app/leak.py:7 export", connection=9)


def test_a_leak_is_retracted_when_its_connection_comes_back(tmp_path: Path) -> None:
    usual = [Lease(k * 0.5, 0.05, site=LEAK.site) for k in range(100)]
    late = Lease(8.0, 30.0, site=LEAK.site, connection=8)
    assert found("PC101", tmp_path, leases=[*usual, late], duration=60.0) == []
    text = said(
        "PC101",
        tmp_path / "2",
        leases=[*usual, Lease(39.0, None, end="open", site=LEAK.site, connection=9)],
        duration=60.0,
    )
    assert "retracted" not in text
    text = said("PC101", tmp_path / "3", leases=[*usual, late, LEAK], duration=300.0)
    assert "1 connection taken and never returned" in text
    assert "retracted: 1 lease" in text


def test_a_pre_ping_that_never_catches_anything_is_told_with_its_price(tmp_path: Path) -> None:
    leases = [Lease(k * 0.1, 0.05, ping=0.001) for k in range(1200)]
    text = said("PC307", tmp_path, leases=leases, settings={"pre_ping": True})
    assert "1,200 connections were tested before use and none was dead" in text
    assert "paid: 1.20 s, 1.00 ms a checkout, 100 % of the acquire time" in text
    assert "pool_pre_ping=False" in text
    caught = [*leases, Lease(130.0, 0.05, ping=0.001, connect=0.01)]
    assert found("PC307", tmp_path / "2", leases=caught, settings={"pre_ping": True}) == []


def test_the_caller_s_timeout_is_told_or_read_off_those_who_gave_up(tmp_path: Path) -> None:
    gave_up = [Lease(k * 1.0, None, wait=5.0 + 0.01 * k, end="cancelled") for k in range(9)]
    text = said("PC402", tmp_path, leases=gave_up)
    assert "pool_timeout of 30.0 s is longer than callers wait (5.04 s)" in text
    assert "9 callers gave up after 5.04 s" in text
    assert "pool_timeout=4," in text
    text = said("PC402", tmp_path / "2", leases=[Lease(1.0)], policy=Policy(caller_timeout_s=20.0))
    assert "callers wait (20.0 s)" in text
    people = [Lease(k * 1.0, None, wait=1.0 + 3 * k, end="cancelled") for k in range(9)]
    assert found("PC402", tmp_path / "3", leases=people) == []


def test_a_budget_that_holds_only_once_is_noted(tmp_path: Path) -> None:
    server = {"max_connections": 100, "reserved_connections": 3, "in_use": 7}
    leases = [Lease(1.0, fresh=True), Lease(1.0, fresh=True, process=PID + 1)]
    [finding] = found("PC501", tmp_path, leases=leases, settings={"pool_size": 30, "max_overflow": 10}, server=server)
    assert finding.severity.value == "info"
    assert "2 × 40 connections fit into 90, but not twice" in finding.title


def test_sessions_of_the_pools_own_are_not_sessions_of_others(tmp_path: Path) -> None:
    server = {"max_connections": 20, "reserved_connections": 0, "in_use": 10}
    before = [Lease(1.0 + k, connection=k + 1) for k in range(10)]  # open when the window began
    settings = {"pool_size": 10, "max_overflow": 0}
    assert found("PC501", tmp_path, leases=before, settings=settings, server=server) == []
    fresh = [Lease(1.0 + k, connection=k + 1, fresh=True) for k in range(10)]
    [finding] = found("PC501", tmp_path / "2", leases=fresh, settings=settings, server=server)
    assert finding.severity.value == "info"


def test_holds_are_held_to_the_objective_where_there_is_one(tmp_path: Path) -> None:
    leases = [Lease(k * 0.1, 0.1, site="app/a.py:1 a") for k in range(90)]
    leases += [Lease(20 + k, 3.0, sql=0.3, site="app/b.py:2 b") for k in range(10)]
    assert found("PC306", tmp_path, leases=leases) == []
    text = said("PC306", tmp_path / "2", leases=leases, slo="p95 hold < 2s")
    assert "p95 hold time is 3.00 s, its objective 2.00 s" in text
    assert "app/b.py:2 b" in text
    assert "10.0 % of it SQL" in text


def test_a_hot_pool_in_which_nobody_waits_is_only_noted(tmp_path: Path) -> None:
    leases = through_pool([(k * 0.1, 0.36) for k in range(300)], size=4, connect=0.001)
    settings = {"pool_size": 4, "max_overflow": 0}
    for code in ("PC206", "PC207"):
        [finding] = found(code, tmp_path / code, leases=leases, settings=settings)
        assert finding.severity.value == "info", finding


def test_a_pool_whose_peak_was_short_is_noted_with_the_size_that_would_do(tmp_path: Path) -> None:
    busy = [Lease(1.0, 0.3, connection=k + 1, fresh=True, connect=0.01) for k in range(4)]
    leases = busy + [Lease(5.0 + k, 0.05, connection=k % 4 + 1) for k in range(50)]
    text = said("PC207", tmp_path, leases=leases, settings={"pool_size": 8, "max_overflow": 0})
    assert "open connections were in use on average" in text
    assert "pool_size=4 would have held the peak (now 8)" in text


def test_a_pool_class_that_did_no_harm_is_only_noted(tmp_path: Path) -> None:
    none = {"pool_size": None, "max_overflow": None, "pool_timeout_s": None}
    cheap = [Lease(k * 1.0, 0.5, connect=0.001, fresh=True, connection=k + 1) for k in range(20)]
    [finding] = found("PC403", tmp_path, leases=cheap, settings=none, pool_class="NullPool")
    assert finding.severity.value == "info"
    shared = [Lease(1.0, 0.5), Lease(1.1, 0.5)]
    [finding] = found("PC403", tmp_path / "2", leases=shared, settings=none, pool_class="StaticPool")
    assert finding.severity.value == "error"
    assert "2 holders at once" in "\n".join(finding.evidence)


def test_an_engine_per_request_has_no_capacity_and_is_no_oversized_pool(tmp_path: Path) -> None:
    leases = [Lease(k * 1.0, 0.05, pool=k + 1, fresh=True, connect=0.01, connection=k + 1) for k in range(40)]
    assert found("PC604", tmp_path, leases=leases)
    for code in ("PC204", "PC205", "PC501", "PC603"):
        assert found(code, tmp_path / code, leases=leases) == []


def test_slow_returns_say_whether_it_is_the_reset_or_a_listener(tmp_path: Path) -> None:
    text = said("PC304", tmp_path, leases=[Lease(k * 0.1, 0.05, checkin=0.02, reset=0.018) for k in range(100)])
    assert "commit or roll back at app/orders.py:42 handler before the return" in text
    text = said("PC304", tmp_path / "2", leases=[Lease(k * 0.1, 0.05, checkin=0.02, reset=0.001) for k in range(100)])
    assert "listeners" in text.splitlines()[-1]


def test_an_advice_says_the_recommended_size_in_numbers_or_nothing_of_it() -> None:
    finding = Finding("PC206", "utilisation-high", Severity.WARNING, "high", "", [], "")
    today, best = PoolSettings(3, 0), Sizing("", PoolSettings(5, 2), "high", "", None)

    def advice(text: str, sizing: Sizing | None, settings: PoolSettings = today) -> str:
        [made] = findings.with_size([dataclasses.replace(finding, advice=text)], sizing, settings)
        return made.advice

    text = "raise pool_size as recommended, or shorten the holds"
    assert advice(text, best) == "raise pool_size as recommended (pool_size=5, max_overflow=2), or shorten the holds"
    assert advice(text, None) == "raise pool_size, or shorten the holds"
    assert advice(text, best, PoolSettings(10, 10)) == "shorten the holds"
    assert advice("pool_size=5, max_overflow=2, or as recommended", None) == "pool_size=5, max_overflow=2"
    assert advice("lower pool_size towards 3 (now 9), as recommended", None) == "lower pool_size towards 3 (now 9)"


def test_timeouts_come_with_who_held_when_the_first_request_gave_up(tmp_path: Path) -> None:
    leases = [Lease(1.0, 9.0, site="app/slow.py:3 slow"), Lease(2.0, None, wait=5.0, end="timed_out")]
    text = said("PC201", tmp_path, leases=leases, settings={"pool_size": 1, "max_overflow": 0})
    assert "when the first one gave up, at 7.00 s" in text
    assert "held by app/slow.py:3 slow (checkout), since 1.00 s (6.00 s)" in text


EXPORT = "app/report.py:9 export"


def queueing(size: int = 3, **fields: Any) -> dict[str, Any]:
    """Every tenth request holds a connection for 1.2 s and works with it for a tenth of that."""
    work = [(k * 0.05, 1.2 if k % 10 == 0 else 0.05) for k in range(600)]
    names = {"site": lambda k: EXPORT if k % 10 == 0 else "app/orders.py:42 handler"}
    leases = through_pool(work, size=size, sql=lambda k: 0.12 if k % 10 == 0 else 0.05, **names, **fields)
    return {"leases": leases, "settings": {"pool_size": size, "max_overflow": 0}}


def test_one_site_that_makes_others_wait_comes_with_what_its_release_would_change(tmp_path: Path) -> None:
    recorded = queueing()
    text = said("PC303", tmp_path, **recorded)
    waits = sorted(lease.wait for lease in recorded["leases"])
    measured = waits[int(0.95 * len(waits))]
    as_it_was, released, apart = (
        parse_wait(next(line for line in text.splitlines() if line.startswith(start)))
        for start in (
            "replayed as it was",
            "released before what is not SQL (idle 90.0 % of the hold)",
            "with an engine of its own",
        )
    )
    assert measured > 0.2
    assert abs(as_it_was - measured) < 0.1 * measured
    assert released < measured / 10
    assert apart < measured / 10
    assert "release the connection of app/report.py:9 export before what is not SQL: the p95 wait would be" in text


def test_the_line_that_ends_the_idling_is_named_in_evidence_and_advice(tmp_path: Path) -> None:
    until = {EXPORT: "app/report.py:84 export"}
    text = said("PC303", tmp_path, **queueing(), idle_until=until)
    assert "released before line 84 (idle 90.0 % of the hold), the p95 wait would be " in text
    assert f"release the connection of {EXPORT} before line 84: the p95 wait would be " in text
    text = said("PC302", tmp_path / "2", **queueing(), idle_until=until)
    assert "idle until line 84 used it again" in text
    text = said("PC302", tmp_path / "3", **queueing(), idle_until={EXPORT: "app/mail.py:3 send"})
    assert f"return the connection of {EXPORT} before app/mail.py:3 send, and take it again there" in text


def parse_wait(line: str) -> float:
    """Return the wait at the end of an evidence line, in seconds."""
    return parse_duration(line.rpartition("p95 wait ")[2].removeprefix("would be ").removeprefix("is "))


def test_where_few_requests_waited_the_longest_wait_says_what_a_release_would_change(tmp_path: Path) -> None:
    work = [(1.0, 3.0), *((1.1 + k * 0.01, 0.01) for k in range(5)), *((10.0 + k * 0.1, 0.01) for k in range(400))]
    leases = through_pool(work, size=1, sql=0.01, site=lambda k: EXPORT if k == 0 else "app/orders.py:42 handler")
    text = said("PC303", tmp_path, leases=leases, settings={"pool_size": 1, "max_overflow": 0})
    assert "replayed as it was, the p99 wait is 2.9" in text
    assert "before what is not SQL: the p99 wait would be 0 ms" in text


def test_nothing_is_claimed_where_the_model_does_not_reproduce_the_run(tmp_path: Path) -> None:
    recorded = queueing()
    recorded["settings"] = {"pool_size": 30, "max_overflow": 0}  # not the pool that made these waits
    text = said("PC303", tmp_path, **recorded)
    assert "no counterfactual: the model does not even predict the run it came from" in text
    assert "would be" not in text
