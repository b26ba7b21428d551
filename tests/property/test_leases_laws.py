"""Whatever was recorded and whatever was lost: a lease is one row with one end."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from synthesis import PID, Lease, write_run

from poolctl.analysis.columns import ENDS
from poolctl.analysis.leases import tables
from poolctl.analysis.live import LiveWindow

spans = st.integers(0, 2000).map(lambda milliseconds: milliseconds / 1000)


@st.composite
def leases(draw):
    end = draw(st.sampled_from(ENDS))
    held = end in ("returned", "invalidated", "detached", "abandoned") or (end == "cancelled" and draw(st.booleans()))
    return Lease(
        requested=draw(spans),
        hold=draw(spans) if held else None,
        wait=draw(spans),
        connect=draw(st.sampled_from([0.0, 0.003])),
        ping=draw(st.sampled_from([0.0, 0.001])),
        end=end,
        site=draw(st.sampled_from(["a.py:1 f", "a.py:2 g", "b.py:1 f"])),
        context=draw(st.sampled_from([None, "read", "write"])),
        connection=draw(st.integers(1, 50)),
        process=draw(st.sampled_from([PID, PID + 1])),
        task=draw(st.integers(0, 5)),
    )


@contextlib.contextmanager
def recorded(items, **more):
    with tempfile.TemporaryDirectory() as directory:
        yield write_run(Path(directory), items, **more)


@settings(max_examples=60, deadline=None)
@given(st.lists(leases(), min_size=1, max_size=15))
def test_every_lease_is_one_row_with_its_own_end(items):
    with recorded(items) as run:
        frame = tables(run).leases
        assert len(frame) == len(items)
        found = frame["end"].value_counts()
        for end in set(ENDS) - {"open", "returned"}:
            assert found.get(end, 0) == sum(item.end == end for item in items)
        # An open lease whose connection is checked out again has been returned: the two ends share their sum.
        ours = sum(item.end in ("open", "returned") for item in items)
        assert found.get("open", 0) + found.get("returned", 0) == ours


@settings(max_examples=60, deadline=None)
@given(st.lists(leases(), min_size=1, max_size=15), st.sets(st.integers(1, 60), max_size=20), st.integers(0, 63))
def test_losing_records_never_makes_a_lease_or_a_second_end(items, lost, torn):
    with recorded(items, lose=sorted(lost), torn=torn) as run:
        made = tables(run)
        frame = made.leases
        assert len(frame) <= len(items)
        assert not frame.duplicated(["process", "lease"]).any()
        assert frame["end"].notna().all()


@settings(max_examples=60, deadline=None)
@given(st.lists(leases(), min_size=1, max_size=15), st.sets(st.integers(1, 60), max_size=20))
def test_the_times_of_a_lease_fit_each_other(items, lost):
    with recorded(items, lose=sorted(lost)) as run:
        frame = tables(run).leases
        for name in [column for column in frame.columns if column.endswith("_time_s") or column == "idle_in_hold_s"]:
            assert not (frame[name] < 0).any()
        both = frame.dropna(subset=["acquire_time_s", "wait_time_s"])
        assert (both["acquire_time_s"] >= both["wait_time_s"] - 1e-9).all()
        held = frame.dropna(subset=["hold_time_s"])
        assert np.allclose(held["hold_time_s"], held["ended_at_s"] - held["acquired_at_s"])


@settings(max_examples=40, deadline=None)
@given(st.lists(leases(), min_size=1, max_size=15), st.integers(1, 7))
def test_the_live_window_counts_what_the_tables_hold(items, pieces):
    with recorded(items) as run:
        window = LiveWindow()
        last = 0
        for path in run.event_files():
            data = path.read_bytes()[64:]
            size = max(1, len(data) // 64 // pieces) * 64
            for start in range(0, len(data), size):
                window.feed(data[start : start + size])
        made = tables(run)
        state = window.progress(last)
        frame = made.leases
        assert state.arrivals == len(frame)
        assert state.timed_out == (frame["end"] == "timed_out").sum()
        still = frame["acquired_at_s"].notna() & frame["ended_at_s"].isna()
        assert state.checked_out == still.sum()
        assert state.waiting == 0
