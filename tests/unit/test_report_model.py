"""The report contract: plain JSON and back, nulls for what is not a number, unknown keys passed over."""

import dataclasses
import json
import math

import pytest
from sample_reports import too_small

from poolctl.trace.report import Dist, PoolSettings, Report, Severity


def test_a_report_is_the_same_after_json():
    report = too_small()
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert Report.from_json(data) == report


def test_the_schema_comes_first_and_what_is_absent_is_left_out():
    data = dataclasses.replace(too_small(), load=None, sizing=None).to_json()
    assert next(iter(data)) == "schema"
    assert "load" not in data
    assert "sizing" not in data
    assert Report.from_json(data).load is None


def test_what_is_no_number_becomes_null():
    report = dataclasses.replace(
        too_small(), times=dataclasses.replace(too_small().times, ping_time_s=Dist(1, math.nan, max=math.inf))
    )
    ping = report.to_json()["times"]["ping_time_s"]
    assert (ping["count"], ping["mean"], ping["max"]) == (1, None, None)


def test_keys_of_a_newer_poolctl_are_passed_over():
    data = too_small().to_json()
    data["novelty"] = 1
    data["run"]["novelty"] = 2
    assert Report.from_json(data).run == too_small().run


@pytest.mark.parametrize(
    ("settings", "capacity"),
    [
        (PoolSettings(5, 10), 15),
        (PoolSettings(5, 0), 5),
        (PoolSettings(5, -1), math.inf),
        (PoolSettings(0, 10), math.inf),
        (PoolSettings(), None),
        (PoolSettings(None, 10), None),
    ],
)
def test_the_capacity_is_size_plus_overflow_or_none_or_no_limit(settings, capacity):
    assert settings.capacity == capacity


def test_severities_are_ordered():
    assert [severity.rank for severity in Severity] == [0, 1, 2, 3]
    assert Severity("critical").rank > Severity("info").rank
