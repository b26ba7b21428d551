"""The pool over time: slices that people read, peaks and means that are exact."""

import numpy as np
import pytest
from synthesis import PID, Lease, through_pool, write_run

from poolctl.analysis.leases import tables
from poolctl.analysis.occupancy import pool_info, slice_edges
from poolctl.analysis.summary import target_of
from poolctl.analysis.view import View


def info(tmp_path, leases, **arguments):
    made = tables(write_run(tmp_path, leases, **arguments))
    return pool_info(View(made, target_of(made)))


@pytest.mark.parametrize("length", [0.31, 1.0, 7.77, 30.0, 60.0, 625.3, 3600.0, 86_400.0])
def test_there_are_some_dozens_of_slices_of_a_round_width_that_cover_the_run(length):
    edges = slice_edges(length)
    width = edges[1] - edges[0]
    assert 47 <= len(edges) - 1 <= 120
    assert edges[0] == 0.0
    assert edges[-2] < length <= edges[-1] + 1e-9
    assert float(f"{width:.3g}") == pytest.approx(width)
    assert f"{width:.6e}"[0] in "125"


def test_the_slices_add_up_to_the_run(tmp_path):
    leases = through_pool([(k * 0.02, 0.09) for k in range(500)], size=3, timeout=0.3)
    found = info(tmp_path, leases, settings={"pool_size": 3, "max_overflow": 0})
    points = found.timeline
    assert sum(point.arrivals for point in points) == 500
    assert sum(point.timed_out for point in points) == sum(lease.end == "timed_out" for lease in leases) > 0
    assert max(point.checked_out for point in points) == found.peak_checked_out == 3
    assert max(point.waiting for point in points) == found.peak_waiting
    width = points[1].at_s
    held = sum(lease.hold for lease in leases if lease.hold)
    assert sum(point.mean_checked_out for point in points) * width == pytest.approx(held, rel=1e-6)
    assert found.mean_checked_out <= 3


def test_a_p95_of_a_slice_needs_its_samples_too(tmp_path):
    leases = [Lease(k * 0.005, 0.001, wait=0.05) for k in range(99)] + [Lease(50.0, 0.001)]
    points = info(tmp_path, leases, duration=60.0).timeline
    assert points[0].p95_wait_s is None or points[0].arrivals >= 59
    assert {point.p95_wait_s for point in points if point.arrivals < 59} == {None}
    assert any(point.p95_wait_s == pytest.approx(0.05) for point in points)


def test_a_lease_that_is_never_returned_is_held_to_the_end(tmp_path):
    found = info(tmp_path, [Lease(5.0, None, end="open")], duration=10.0)
    assert found.mean_checked_out == pytest.approx(0.5)
    assert found.timeline[-1].checked_out == 1


def test_overflow_is_what_is_open_beyond_pool_size_even_when_it_is_idle(tmp_path):
    leases = [Lease(1.0, 1.0, fresh=True, connect=0.001, connection=k, overflow=k > 2) for k in range(1, 5)]
    found = info(
        tmp_path, leases, settings={"pool_size": 2, "max_overflow": 2}, duration=10.0, closed=[(8.0, 3), (8.0, 4)]
    )
    assert found.peak_overflow == 2
    by_second = {round(point.at_s, 3): point.overflow for point in found.timeline}
    assert by_second[5.0] == 2
    assert by_second[9.0] == 0
    assert found.connects_per_1000 == 1000.0


def test_overflow_of_one_process_is_not_lent_to_another(tmp_path):
    leases = [Lease(1.0, 1.0, process=PID, connection=k) for k in range(4)] + [Lease(1.0, 1.0, process=PID + 1)]
    assert info(tmp_path, leases, settings={"pool_size": 3, "max_overflow": 5}).peak_overflow == 1


def test_a_detached_connection_leaves_the_pool_with_its_holder(tmp_path):
    leases = [Lease(1.0, 1.0, fresh=True, connect=0.001, connection=k, end="detached") for k in (1, 2)]
    found = info(
        tmp_path, leases, settings={"pool_size": 1, "max_overflow": 5}, duration=20.0, closed=[(9.0, 1), (9.0, 2)]
    )
    by_second = {round(point.at_s, 3): point.overflow for point in found.timeline}
    assert by_second[1.0] <= found.peak_overflow == 1
    assert by_second[5.0] == 0


def test_without_a_limit_there_is_no_utilisation(tmp_path):
    found = info(tmp_path, [Lease(1.0, 1.0)], settings={"pool_size": 5, "max_overflow": -1})
    assert found.utilisation is None
    assert np.isfinite(found.mean_checked_out)


def test_a_disposed_engine_is_still_one_pool(tmp_path):
    """`Engine.dispose()` makes a new pool object; the capacity does not double."""
    leases = [Lease(k * 0.1, 0.1, pool=1 + (k >= 50)) for k in range(100)]
    run = write_run(tmp_path, leases, settings={"pool_size": 2, "max_overflow": 0})
    names = run.path / f"names-{PID}.jsonl"
    names.write_text(names.read_text().replace("engine-2", "engine-1"))
    made = tables(run)
    view = View(made, target_of(made))
    assert view.capacity == 2
    assert pool_info(view).utilisation == pytest.approx(0.5, abs=0.02)


def test_a_hold_whose_end_was_lost_is_not_held_for_ever(tmp_path):
    leases = [Lease(1.0, 0.5, connection=1), Lease(5.0, 0.5, connection=1)]
    found = info(tmp_path, leases, duration=10.0, lose=[4])  # the first one's CHECKIN
    assert found.peak_checked_out == 1
    assert found.mean_checked_out == pytest.approx(0.05)
