"""The probes before a load, on a real server."""

from __future__ import annotations

import pytest

from poolctl.target.calibrate import calibrate
from poolctl.target.engine import check
from poolctl.target.spec import TargetSpec


@pytest.mark.server
def test_probes_time_connections_leave_none_behind_and_look_for_cores_only_where_asked(postgres_url: str) -> None:
    spec = TargetSpec(url=postgres_url)
    before = check(spec).in_use
    found = calibrate(spec, 2)
    assert found is not None
    assert 3 <= len(found["connect_s"]) <= 10
    assert min(found["connect_s"]) > 0
    assert found["close_s"] > 0
    assert found["cold_s"] >= 0
    assert found["cores"] is None
    assert check(spec).in_use == before
    looked = calibrate(spec, None)
    assert looked is not None
    assert looked["cores"] is None or looked["cores"] >= 1


def test_a_target_that_cannot_be_reached_is_no_error_here() -> None:
    assert calibrate(TargetSpec(url="postgresql+asyncpg://nobody@127.0.0.1:1/none"), None) is None
