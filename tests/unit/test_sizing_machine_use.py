"""Who used the machine meanwhile: what is left for the database, and when a run says too little because of others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from database_cases import Truth, app_bound, cpu_bound
from sizing_cases import poisson, settings

from poolctl.analysis.machine_use import machine_use
from poolctl.analysis.pool_model import Rules
from poolctl.analysis.sizing import recommend
from poolctl.trace.report import ServerInfo, Sizing

TWO_CORES = ServerInfo("18", 100, 3, 0, 2)
RULES = Rules(25, 0, 1.0)


def used(busy: float, ours: float = 0.1, server: float = 0.9, cores: int | None = 2) -> dict[str, Any]:
    spent = {"cores_busy": busy, "cores_ours": ours, "cores_server": server}
    return {"cpu": spent, "target": {"server": {"cores": cores}}}


def sized(truth: Truth, meta: dict[str, Any], server: ServerInfo = TWO_CORES) -> Sizing:
    made = truth.tables(RULES)
    tables = SimpleNamespace(
        leases=made.leases, operations=made.operations, statements=made.statements, meta=meta, pools=()
    )
    return recommend(tables, settings(RULES), server=server)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("busy", "left", "disturbed"), [(1.0, 1.9, False), (1.2, 1.7, False), (1.6, 1.3, True), (2.0, 1.0, True)]
)
def test_the_database_has_what_the_generator_and_others_leave_but_at_least_half(
    busy: float, left: float, disturbed: bool
) -> None:
    use = machine_use(used(busy))
    assert use is not None
    assert use.left == pytest.approx(left)
    assert use.disturbed is disturbed


def test_nothing_is_known_of_a_server_elsewhere_or_of_a_run_that_did_not_look() -> None:
    assert machine_use(used(1.0, cores=None)) is None
    assert machine_use({}) is None
    assert machine_use({**used(1.0), "cpu": None}) is None


def test_holds_that_need_cpu_give_no_advice_when_others_took_it() -> None:
    truth = cpu_bound(poisson(170, 30, 3), 5)
    disturbed = sized(truth, used(1.9))
    assert disturbed.recommended is None
    assert not disturbed.no_size
    assert "something else used 0.90 of the machine's 2 cores" in disturbed.reason
    quiet = sized(truth, used(1.02))
    assert quiet.recommended is not None, quiet.reason
    assert any("1.88 cores (told)" in note for note in quiet.notes)
    assert sized(truth, used(1.9, cores=None)).reason != disturbed.reason


def test_holds_that_need_none_are_sized_all_the_same_and_it_is_said() -> None:
    sizing = sized(app_bound(poisson(150, 30, 3), 5), used(1.9))
    assert sizing.recommended is not None, sizing.reason
    assert any("something else used 0.90" in note for note in sizing.notes)
