"""Probes stand in for what a run did not show: connects, the cold first statement, the close, the server's cores."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from database_cases import app_bound, cpu_bound
from sizing_cases import poisson, settings

from poolctl.analysis.calibration import read_calibration, with_probes
from poolctl.analysis.case import Case, prepare
from poolctl.analysis.demand import Recorded, read_demand
from poolctl.analysis.pool_model import Rules
from poolctl.trace.report import ServerInfo

PROBES = {"connect_s": [0.05] * 10, "cold_s": 0.002, "close_s": 0.0015, "cores": 2}


def recorded(size: int) -> Recorded:
    made = app_bound(poisson(150, 20, 3), 5).tables(Rules(size, 0, 1.0))
    demand = read_demand(made.leases, made.operations)
    assert demand is not None
    return demand


def prepared(meta: dict[str, Any], server: ServerInfo | None) -> Case:
    made = cpu_bound(poisson(150, 20, 3), 5).tables(Rules(6, 0, 1.0))
    tables = SimpleNamespace(
        leases=made.leases, operations=made.operations, statements=made.statements, meta=meta, pools=()
    )
    case = prepare(tables, settings(Rules(6, 0, 1.0)), [], server, 1)  # type: ignore[arg-type]
    assert isinstance(case, Case)
    return case


def test_a_run_without_probes_stays_as_it_is() -> None:
    run = recorded(6)
    assert read_calibration({}) is None
    assert read_calibration({"calibration": None}) is None
    assert with_probes(run, None) is run


def test_probes_stand_beside_the_few_connects_of_a_run_and_replace_the_guess_of_the_close() -> None:
    run = recorded(6)
    own = run.demands[0].marks.connect_s
    marks = with_probes(run, read_calibration({"calibration": PROBES})).demands[0].marks
    assert len(marks.connect_s) == len(own) + 10
    assert marks.close_s == 0.0015
    assert marks.connect_s[-1] == 0.05


def test_a_run_with_enough_connects_of_its_own_keeps_to_them() -> None:
    run, many = recorded(6), np.full(40, 0.007)
    demand = run.demands[0]
    run = replace(run, demands=[replace(demand, marks=replace(demand.marks, connect_s=many))])
    probed = with_probes(run, read_calibration({"calibration": PROBES}))
    assert probed.demands[0].marks.connect_s.tolist() == many.tolist()
    assert len(probed.probed_connect_s) == 0


def test_the_cold_first_statement_and_the_cores_reach_the_database_model() -> None:
    case = prepared({"calibration": PROBES}, None)
    assert case.structure is not None
    assert case.structure.database.cores == 2
    assert case.structure.database.connect_cold_s == pytest.approx(0.002)
    assert case.structure.database.close_work_s == pytest.approx(0.0015)
    assert case.structure.connect_work_s.max() == pytest.approx(0.05)


def test_what_is_known_of_the_server_counts_more_than_the_probe() -> None:
    case = prepared({"calibration": PROBES}, ServerInfo("18", 100, 3, 0, 1))
    assert case.structure is not None
    assert case.structure.database.cores == 1
