"""The live window: totals, gauges and moving quantiles from raw records, in pieces of any size."""

import pytest
from synthesis import EPOCH, Lease, Operation, operations_of, through_pool, write_run

from poolctl.analysis.live import LiveWindow


def window_after(tmp_path, leases, operations=(), pieces=1, **more):
    run = write_run(tmp_path, leases, operations=operations)
    window = LiveWindow(**more)
    window.begin(EPOCH)
    data = run.event_files()[0].read_bytes()[64:]
    records = len(data) // 64
    for piece in range(pieces):
        window.feed(data[records * piece // pieces * 64 : records * (piece + 1) // pieces * 64])
    return window


def at(seconds):
    return EPOCH + round(seconds * 1e9)


def test_before_the_first_record_there_is_nothing():
    state = LiveWindow(duration_s=30.0).progress(at(0))
    assert (state.elapsed_s, state.duration_s, state.arrivals, state.p95_hold_s) == (0.0, 30.0, 0, None)


@pytest.mark.parametrize("pieces", [1, 3, 17])
def test_totals_do_not_depend_on_how_the_records_came(tmp_path, pieces):
    leases = through_pool([(k * 0.01, 0.05) for k in range(200)], size=3, timeout=0.2, connect=0.001)
    state = window_after(tmp_path, leases, operations_of(leases), pieces).progress(at(2.0))
    assert state.arrivals == state.operations == 200
    assert state.timed_out == sum(lease.end == "timed_out" for lease in leases) > 0
    assert (state.checked_out, state.waiting, state.open, state.idle) == (0, 0, 3, 3)
    assert (state.failed, state.skipped) == (0, 0)


def test_gauges_show_who_holds_and_who_waits(tmp_path):
    leases = [
        Lease(1.0, None, end="open", connect=0.001, connection=1),
        Lease(1.1, None, end="open", connect=0.001, connection=2, overflow=True),
    ]
    state = window_after(tmp_path / "a", leases).progress(at(2.0))
    assert (state.checked_out, state.overflow, state.open, state.idle) == (2, 1, 2, 0)
    run = write_run(tmp_path / "b", [Lease(1.0, None, wait=5.0, end="timed_out")], lose=[2])
    window = LiveWindow()
    window.feed(run.event_files()[0].read_bytes()[64:])
    assert window.progress(at(2.0)).waiting == 1


def test_overflow_is_what_is_open_beyond_pool_size_where_that_is_known(tmp_path):
    leases = [Lease(1.0, 0.5, connect=0.001, connection=k) for k in range(1, 6)]
    assert window_after(tmp_path, leases, pool_size=3).progress(at(2.0)).overflow == 2


def test_quantiles_and_the_rate_forget_what_is_older_than_the_window(tmp_path):
    leases = [Lease(k * 0.1, 1.0, wait=0.5) for k in range(50)] + [Lease(20 + k * 0.1, 0.1) for k in range(50)]
    window = window_after(tmp_path, leases)
    early, late = window_after(tmp_path, leases[:50]).progress(at(5.0)), window.progress(at(25.0))
    assert (early.p95_hold_s, early.p95_acquire_s) == pytest.approx((1.0, 0.5))
    assert (late.p95_hold_s, late.p95_acquire_s) == pytest.approx((0.1, 0.0))
    assert late.achieved_per_s == pytest.approx(10.0)
    assert window.progress(at(100.0)).p95_hold_s is None


def test_a_timeout_counts_as_the_time_that_it_took(tmp_path):
    state = window_after(tmp_path, [Lease(1.0, None, wait=2.0, end="timed_out")]).progress(at(4.0))
    assert (state.timed_out, state.p95_acquire_s) == (1, pytest.approx(2.0))


def test_a_failed_request_that_fails_its_operation_is_one_failure(tmp_path):
    leases = [Lease(1.0, None, connect=0.01, end="failed", error="OSError")]
    state = window_after(tmp_path, leases, operations_of(leases)).progress(at(2.0))
    assert state.failed == 1


def test_what_was_never_started_is_skipped_and_no_operation(tmp_path):
    state = window_after(tmp_path, [], [Operation(1.0, 1.0, outcome="skipped")]).progress(at(2.0))
    assert (state.skipped, state.operations) == (1, 0)


def test_the_history_has_the_arrivals_of_every_second(tmp_path):
    leases = [Lease(k * 0.25, 0.1) for k in range(16)]
    history = window_after(tmp_path, leases, pieces=64).progress(at(4.0)).history
    assert [second.at_s for second in history] == [0, 1, 2, 3]
    assert sum(second.arrivals for second in history) == 16
    assert all(second.arrivals == 4 for second in history)
