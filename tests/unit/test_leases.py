"""Records become leases: every end, every gap, every process."""

import numpy as np
import pandas as pd
import pytest
from synthesis import EPOCH, PID, Lease, Operation, Sample, operations_of, through_pool, write_run

from poolctl.analysis.columns import ENDS
from poolctl.analysis.frames import LEASES
from poolctl.analysis.leases import _capture, tables
from poolctl.analysis.summary import analyse
from poolctl.errors import InputError
from poolctl.trace.events import LAYOUTS, Flag, Kind

HELD = Lease(1.0, 0.5, wait=0.2, connect=0.1, ping=0.05, sql=[(0.0, 0.1), (0.3, 0.1)], reset=0.01, checkin=0.02)


def row(run, number=1):
    frame = tables(run).leases
    return frame[frame["lease"] == number].iloc[0]


def test_the_columns_are_the_public_contract(tmp_path):
    assert list(tables(write_run(tmp_path, [HELD])).leases.columns) == LEASES


def test_a_returned_lease_has_all_its_times(tmp_path):
    lease = row(write_run(tmp_path, [HELD]))
    expected = {
        "requested_at_s": 1.0,
        "acquired_at_s": 1.35,
        "ended_at_s": 1.85,
        "acquire_time_s": 0.35,
        "wait_time_s": 0.2,
        "connect_time_s": 0.1,
        "ping_time_s": 0.05,
        "hold_time_s": 0.5,
        "sql_time_s": 0.2,
        "idle_in_hold_s": 0.3,
        "reset_time_s": 0.01,
        "checkin_time_s": 0.02,
    }
    assert {name: lease[name] for name in expected} == pytest.approx(expected)
    assert (lease["site"], lease["file"], lease["line"], lease["function"]) == (
        "app/orders.py:42 handler",
        "app/orders.py",
        42,
        "handler",
    )
    assert (lease["context"], lease["end"], lease["statements"], lease["process"]) == ("checkout", "returned", 2, PID)
    assert pd.isna(lease["trace_id"])
    assert pd.isna(lease["intended_at_s"])


@pytest.mark.parametrize(
    ("given", "end"),
    [
        (Lease(1.0, 0.1), "returned"),
        (Lease(1.0, None, wait=0.5, end="timed_out", error="TimeoutError"), "timed_out"),
        (Lease(1.0, None, wait=0.5, end="cancelled"), "cancelled"),
        (Lease(1.0, 0.1, end="cancelled"), "cancelled"),
        (Lease(1.0, None, connect=0.5, end="failed", error="OSError"), "failed"),
        (Lease(1.0, 0.1, end="invalidated"), "invalidated"),
        (Lease(1.0, 0.1, end="detached"), "detached"),
        (Lease(1.0, 0.1, end="abandoned"), "abandoned"),
        (Lease(1.0, None, end="open"), "open"),
    ],
)
def test_every_end_is_read_as_it_was(tmp_path, given, end):
    lease = row(write_run(tmp_path, [given], duration=3.0))
    assert lease["end"] == end
    assert pd.isna(lease["acquired_at_s"]) != given.got_it
    assert pd.isna(lease["hold_time_s"]) == (given.hold is None)
    assert lease["error"] == given.error or (given.error is None and pd.isna(lease["error"]))


def test_a_refused_request_waited_until_its_refusal(tmp_path):
    lease = row(write_run(tmp_path, [Lease(1.0, None, wait=0.5, end="timed_out")]))
    assert (lease["acquire_time_s"], lease["wait_time_s"]) == pytest.approx((0.5, 0.5))


def test_a_request_that_still_waits_is_open_and_holds_nothing(tmp_path):
    run = write_run(tmp_path, [HELD, Lease(2.0, None, end="open")], lose=[])
    everything = tables(run).leases
    assert len(everything) == 2
    waiting = write_run(tmp_path, [Lease(2.0, None, end="open")], name="waiting", lose=[2])
    lease = row(waiting)
    assert lease["end"] == "open"
    assert pd.isna(lease["acquired_at_s"])
    assert pd.isna(lease["wait_time_s"])


def test_the_same_numbers_in_two_processes_stay_apart(tmp_path):
    leases = [Lease(1.0, 0.1, site="a.py:1 f"), Lease(1.0, 0.2, site="b.py:2 g", context="other", process=PID + 1)]
    made = tables(write_run(tmp_path, leases))
    assert made.leases["site"].tolist() == ["a.py:1 f", "b.py:2 g"]
    assert made.leases["process"].tolist() == [PID, PID + 1]
    assert made.leases["hold_time_s"].tolist() == pytest.approx([0.1, 0.2])
    assert [(pool.process, pool.number) for pool in made.pools] == [(PID, 1), (PID + 1, 1)]


def test_two_sites_in_one_file_share_its_name(tmp_path):
    leases = [Lease(1.0, site="a.py:1 f"), Lease(2.0, site="a.py:9 g"), Lease(3.0, site="b.py:3 f")]
    frame = tables(write_run(tmp_path, leases)).leases
    assert frame["file"].tolist() == ["a.py", "a.py", "b.py"]
    assert frame["function"].tolist() == ["f", "g", "f"]
    assert frame["line"].tolist() == [1, 9, 3]


def test_a_torn_last_record_is_left_out(tmp_path):
    whole = tables(write_run(tmp_path, [HELD], name="whole"))
    torn = tables(write_run(tmp_path, [HELD], name="torn", torn=37))
    assert torn.capture.events == whole.capture.events
    pd.testing.assert_frame_equal(torn.leases, whole.leases)


def test_records_lost_in_the_middle_are_counted(tmp_path):
    run = write_run(tmp_path, [Lease(1.0, 0.1), Lease(2.0, 0.1)], lose=[2, 5])
    assert tables(run).capture.dropped == 2


def test_the_overhead_is_the_share_of_what_was_watched_that_capture_took_itself(tmp_path):
    leases = [Lease(1.0 + k, 0.5, wait=0.5) for k in range(10)]
    counted = {"overhead_ns": 50_000_000, "sampled": 20}
    made = tables(write_run(tmp_path / "a", leases, capture=counted))
    assert made.capture.overhead == pytest.approx(0.005)
    too_few = tables(write_run(tmp_path / "b", leases, capture={**counted, "sampled": 2}))
    assert too_few.capture.overhead is None


@pytest.mark.parametrize(
    ("told", "compiled"), [([True], True), ([True, False], False), ([None, True], True), ([None], None), ([], None)]
)
def test_capture_is_called_compiled_where_it_was_in_every_process_that_says(told, compiled):
    counters = [{} if said is None else {"compiled": said} for said in told]
    assert _capture(0, 0, counters)["compiled"] is compiled


def test_how_capture_ran_is_read_from_the_trace(tmp_path):
    for name, said in (("a", {"compiled": False}), ("b", {"compiled": True}), ("c", {})):
        made = tables(write_run(tmp_path / name, [HELD], capture=said))
        assert made.capture.compiled is said.get("compiled")


def test_what_the_drain_counted_as_lost_is_lost_even_without_a_gap(tmp_path):
    run = write_run(tmp_path, [HELD], capture_dropped=7)
    assert tables(run).capture.dropped == 7


def test_a_connection_that_is_checked_out_again_was_given_back_though_nobody_knows_when(tmp_path):
    leases = [Lease(1.0, 0.1, sql=0.05, connection=3), Lease(2.0, 0.1, sql=0.05, connection=3)]
    frame = tables(write_run(tmp_path, leases, lose=[4])).leases  # the first lease's CHECKIN
    assert frame["end"].tolist() == ["returned", "returned"]
    assert pd.isna(frame["ended_at_s"][0])
    assert frame["sql_time_s"][0] == pytest.approx(0.05)


def test_without_its_request_a_lease_began_its_acquire_time_before_the_checkout(tmp_path):
    lease = row(write_run(tmp_path, [HELD], lose=[1]))
    assert lease["requested_at_s"] == pytest.approx(1.0)
    assert lease["site"] == "app/orders.py:42 handler"
    assert lease["hold_time_s"] == pytest.approx(0.5)


def test_a_lone_return_is_a_lease_of_which_only_the_end_is_known(tmp_path):
    run = write_run(tmp_path, [Lease(1.0, 0.1, sql=0.05)], lose=[1, 2, 3])
    lease = row(run)
    assert lease["end"] == "returned"
    assert lease["function"] == "handler"
    assert pd.isna(lease["acquired_at_s"])
    assert pd.isna(lease["hold_time_s"])
    assert lease["ended_at_s"] == pytest.approx(1.1)


def test_a_lease_whose_site_has_no_name_is_at_an_unknown_one_in_the_report(tmp_path):
    run = write_run(tmp_path, [Lease(at, 0.5) for at in (1.0, 2.0)])
    (events,) = run.event_files()
    lines = run.names_file(events).read_text().splitlines(keepends=True)
    run.names_file(events).write_text("".join(line for line in lines if '"site"' not in line))
    assert tables(run).leases["site"].isna().all()
    assert [(row.site, row.leases) for row in analyse(run).sites] == [("unknown", 2)]


def test_what_was_seen_and_told_once_more_keeps_its_acquire_time(tmp_path):
    run = write_run(tmp_path, [HELD])
    (events,) = run.event_files()
    raw = bytearray(events.read_bytes())
    request = next(n for n in range(64, len(raw), 64) if raw[n + 24] == Kind.REQUEST)
    again = raw[request : request + 64]
    again[25] |= Flag.UNSEEN
    again[:8] = (len(raw) // 64).to_bytes(8, "little")
    events.write_bytes(raw + again)
    assert row(run)["acquire_time_s"] == pytest.approx(0.35)


def test_what_ended_before_the_run_began_is_not_part_of_it(tmp_path):
    frame = tables(write_run(tmp_path, [Lease(-2.0, 0.5), Lease(-1.0, 2.0), Lease(1.0, 0.5)])).leases
    assert frame["requested_at_s"].tolist() == pytest.approx([-1.0, 1.0])


def test_without_an_anchor_the_first_record_is_second_zero(tmp_path):
    run = write_run(tmp_path, [Lease(10.0, 0.5)], anchor=None)
    assert row(run)["requested_at_s"] == 0.0


def test_operations_have_their_lag_and_their_response_from_the_intended_start(tmp_path):
    operations = [
        Operation(intended=1.0, started=1.1, ended=1.6, item=4, client=2, context="buy"),
        Operation(intended=2.0, ended=2.0, item=5, outcome="skipped"),
        Operation(intended=3.0, ended=3.5, item=6, outcome="failed", error="ValueError"),
    ]
    frame = tables(write_run(tmp_path, operations=operations)).operations.sort_values("item", ignore_index=True)
    assert frame["outcome"].tolist() == ["done", "skipped", "failed"]
    assert frame["start_lag_s"][0] == pytest.approx(0.1)
    assert frame["response_time_s"][0] == pytest.approx(0.6)
    assert np.isnan(frame["response_time_s"][1])
    assert (frame["transaction"][0], frame["error"][2]) == ("buy", "ValueError")


def test_a_lease_knows_the_client_of_its_operation_although_items_are_numbered_per_client(tmp_path):
    leases = [
        Lease(1.0, 0.1, item=0, intended=1.0, context="a"),
        Lease(1.5, 0.1, item=0, intended=1.5, context="b"),
        Lease(2.0, 0.1),
    ]
    operations = [
        Operation(intended=1.0, ended=1.1, item=0, client=1, context="a"),
        Operation(intended=1.5, ended=1.6, item=0, client=2, context="b"),
    ]
    assert tables(write_run(tmp_path, leases, operations=operations)).leases["client"].tolist() == [1, 2, -1]


def test_statements_samples_and_connections_have_their_tables(tmp_path):
    run = write_run(tmp_path, [HELD], samples=[Sample(1.0, cpu=0.25)], closed=[(2.5, 1)])
    made = tables(run)
    assert made.statements["sql_time_s"].tolist() == pytest.approx([0.1, 0.1])
    assert made.samples["cpu_s"].tolist() == [0.25]
    assert made.connections["event"].tolist() == ["opened", "closed"]
    assert made.connections["at_s"].tolist() == pytest.approx([1.3, 2.5])


def test_an_open_lease_has_the_sql_of_its_statements_so_far(tmp_path):
    lease = row(write_run(tmp_path, [Lease(1.0, None, end="open", sql=[(0.0, 0.1), (0.5, 0.2)])]))
    assert lease["sql_time_s"] == pytest.approx(0.3)
    assert lease["statements"] == 2


def test_a_trace_id_is_32_hex_digits(tmp_path):
    assert row(write_run(tmp_path, [Lease(1.0, trace_id=0xABC << 64 | 0x1)]))["trace_id"] == f"{0xABC:016x}{1:016x}"


def test_no_lease_at_all_gives_empty_tables(tmp_path):
    made = tables(write_run(tmp_path))
    assert len(made.leases) == len(made.operations) == len(made.statements) == 0
    assert list(made.leases["end"].cat.categories) == list(ENDS)


def test_an_event_file_that_was_made_but_never_written_has_no_records(tmp_path):
    run = write_run(tmp_path, [HELD])
    (run.path / "events-99.bin").touch()
    assert len(tables(run).leases) == 1


def test_a_file_that_is_no_event_file_is_refused_in_one_line(tmp_path):
    run = write_run(tmp_path)
    (run.path / "events-99.bin").write_bytes(b"x" * 200)
    with pytest.raises(InputError, match=r"events-99\.bin is not an event file"):
        tables(run)


@pytest.fixture
def busy(tmp_path):
    leases = through_pool([(k * 0.01, 0.05) for k in range(200)], size=3, timeout=0.2)
    return write_run(tmp_path, leases, operations=operations_of(leases), samples=[Sample(1.0)], capture={"errors": 2})


def test_the_kept_tables_equal_the_built_ones(busy):
    built = tables(busy)
    assert (busy.path / "leases.parquet").is_file()
    kept = tables(busy)
    for name in ("leases", "operations", "connections", "samples", "statements"):
        first, second = getattr(built, name), getattr(kept, name)
        pd.testing.assert_frame_equal(first.astype(object), second.astype(object))
    assert list(kept.leases["end"].cat.categories) == list(built.leases["end"].cat.categories)
    assert (kept.capture, kept.pools, kept.length_s) == (built.capture, built.pools, built.length_s)


def test_the_kept_tables_are_used_when_the_records_are_gone(busy):
    before = len(tables(busy).leases)
    for path in busy.event_files():
        path.unlink()
    assert len(tables(busy).leases) == before


def test_the_tables_are_built_anew_when_an_event_file_has_grown(busy):
    before = len(tables(busy).statements)
    events = busy.event_files()[0]
    data = events.read_bytes()
    events.write_bytes(data[: 64 + (len(data) - 64) // 128 * 64])
    assert len(tables(busy).statements) < before


def test_a_place_that_cannot_take_the_tables_is_only_a_lost_cache(busy):
    (busy.path / "leases.parquet").mkdir()
    assert len(tables(busy).leases) == 200
    assert len(tables(busy).statements) > 0
    assert not list(busy.path.glob(".*.tmp"))


def test_a_kept_table_that_is_torn_is_built_again(busy):
    tables(busy)
    (busy.path / "operations.parquet").write_bytes(b"PAR1 torn")
    assert len(tables(busy).operations) == 200


def test_parquet_is_readable_by_its_public_names(busy):
    tables(busy)
    frame = pd.read_parquet(busy.path / "leases.parquet")
    assert list(frame.columns) == LEASES
    assert frame["requested_at_s"].max() == pytest.approx(1.99)
    assert EPOCH > 0


def with_extra(run, *records):
    """Append records (at, kind, flags, lease, payload) to the event file, with the numbers that follow."""
    path = run.event_files()[0]
    data = path.read_bytes()
    number = (len(data) - 64) // 64
    for offset, (at, kind, flags, lease, payload) in enumerate(records, 1):
        whole = (number + offset, EPOCH + round(at * 1e9), lease, int(kind), int(flags), 1, 0, *payload)
        data += LAYOUTS[kind].pack(*whole)
    path.write_bytes(data)
    return run


def test_the_first_end_of_a_lease_is_its_end_whatever_is_recorded_later(tmp_path):
    run = with_extra(
        write_run(tmp_path, [Lease(1.0, 0.1, end="detached")]),
        (2.0, Kind.CHECKIN, Flag.CANCELLED, 1, (5, 0, 0, 9, 9)),
        (3.0, Kind.CHECKIN, Flag.NONE, 1, (5, 0, 0, 9, 9)),
    )
    lease = row(run)
    assert (lease["end"], lease["ended_at_s"]) == ("detached", pytest.approx(1.1))


def test_of_two_returns_the_first_counts(tmp_path):
    run = with_extra(
        write_run(tmp_path, [Lease(1.0, 0.1, sql=0.05)]), (2.0, Kind.CHECKIN, Flag.ABANDONED, 1, (5, 0, 0, 9, 9))
    )
    lease = row(run)
    assert (lease["end"], lease["hold_time_s"], lease["statements"]) == ("returned", pytest.approx(0.1), 1)


def test_a_record_of_no_lease_makes_no_lease(tmp_path):
    """A connection that was held since before capture began comes back under number 0."""
    run = with_extra(write_run(tmp_path, [HELD]), (3.0, Kind.CHECKIN, Flag.NONE, 0, (5, 0, 0, 1, 1)))
    assert tables(run).leases["lease"].tolist() == [1]


def test_a_record_of_a_kind_that_is_not_known_is_passed_over(tmp_path):
    run = write_run(tmp_path, [HELD])
    path = run.event_files()[0]
    strange = bytearray(path.read_bytes()[-64:])
    strange[24] = 99
    path.write_bytes(path.read_bytes() + bytes(strange))
    assert len(tables(run).leases) == 1


def test_a_context_that_nobody_set_survives_the_files(tmp_path):
    run = write_run(tmp_path, [Lease(1.0, context=None)])
    for _ in range(2):
        frame = tables(run).leases
        assert frame["context"].isna().all()
        assert frame["context"].dtype == "category"
