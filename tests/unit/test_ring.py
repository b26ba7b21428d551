from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from poolctl.errors import InputError, OutputError
from poolctl.trace import eventfile, ring
from poolctl.trace.events import LAYOUTS, RECORD_BYTES, Kind
from poolctl.trace.ring import RingWriter
from poolctl.trace.ring_reader import _PATIENCE, RingReader


@pytest.fixture
def pair(tmp_path):
    writer = RingWriter(tmp_path, records=64, names_bytes=4096)
    reader = RingReader(writer.path)
    yield writer, reader
    reader.close()
    writer.path.unlink()


def sample(writer, value):
    writer.write(Kind.SAMPLE, value, 0, 0, 0, 0, value, value, 0, 0, value)


def sequences(writer):
    """The last word of each record in the ring."""
    return writer.body.cast("Q")[7::8]


def values(raw):
    return [LAYOUTS[Kind.SAMPLE].unpack_from(raw, start)[1] for start in range(0, len(raw), RECORD_BYTES)]


def test_what_is_written_is_read_once_and_in_order(pair):
    writer, reader = pair
    for value in range(50):
        sample(writer, value)
    assert values(reader.read()) == list(range(50))
    assert reader.read() == b""
    for value in range(50, 100):
        sample(writer, value)
    assert values(reader.read()) == list(range(50, 100))
    assert reader.dropped == 0


def test_a_reader_that_is_too_slow_finds_the_newer_records_and_counts_the_others(pair):
    writer, reader = pair
    for value in range(1000):
        sample(writer, value)
    found = values(reader.read())
    assert found == list(range(1000 - len(found), 1000))
    assert len(found) >= 32
    assert reader.dropped == 1000 - len(found)


def test_a_record_that_is_being_written_is_not_read_until_it_is_whole(pair):
    writer, reader = pair
    sample(writer, 1)
    there = sequences(writer)
    whole, there[1] = there[1], 0
    assert reader.read() == b""
    there[1] = whole
    assert values(reader.read()) == [1]


class Overwritten:
    """The ring's sequences; before they are looked at a second time, the writer comes round to the second record."""

    def __init__(self, writer, view, looks):
        self.writer, self.view, self.looks = writer, view, looks

    def __getitem__(self, which):
        found = self.view[which]
        return Overwritten(self.writer, found, self.looks) if isinstance(which, slice) else found

    def tolist(self):
        self.looks.append(1)
        if len(self.looks) == 2:
            sequences(self.writer)[2] = 66
        return self.view.tolist()


def test_a_record_overwritten_while_it_is_copied_is_not_returned(pair):
    writer, reader = pair
    for value in (1, 2, 3):
        sample(writer, value)
    whole, reader._sequences = reader._sequences, None
    reader._sequences = Overwritten(writer, whole, [])
    assert reader._chunk() == bytes(writer.body[RECORD_BYTES : 2 * RECORD_BYTES])
    reader._sequences = whole


def test_a_record_that_is_never_finished_is_given_up_after_a_while_and_counted(pair):
    writer, reader = pair
    for value in (1, 2, 3):
        sample(writer, value)
    sequences(writer)[2] = 0
    found = []
    for _ in range(_PATIENCE + 1):
        found += values(reader.read())
    assert found == [1, 3]
    assert reader.dropped == 1


def test_the_last_read_steps_over_what_is_never_finished(pair):
    writer, reader = pair
    for value in (1, 2, 3):
        sample(writer, value)
    sequences(writer)[2] = 0
    assert values(reader.read(final=True)) == [1, 3]
    assert reader.dropped == 1


class FinishedBetween:
    """The ring's sequences; after so many looks at them, the writer comes on and finishes the second record."""

    def __init__(self, writer, view, looks, after):
        self.writer, self.view, self.looks, self.after = writer, view, looks, after

    def __getitem__(self, which):
        found = self.view[which]
        if isinstance(which, slice):
            return FinishedBetween(self.writer, found, self.looks, self.after)
        self._looked()
        return found

    def tolist(self):
        found = self.view.tolist()
        self._looked()
        return found

    def _looked(self):
        self.looks.append(1)
        if len(self.looks) == self.after:
            sequences(self.writer)[2] = 2


@pytest.mark.parametrize("after", range(1, 40))
def test_the_last_read_skips_nothing_that_is_finished_while_it_looks(pair, after):
    writer, reader = pair
    for value in (1, 2, 3):
        sample(writer, value)
    sequences(writer)[2] = 0
    whole = reader._sequences
    reader._sequences = FinishedBetween(writer, whole, [], after)
    assert values(reader.read(final=True)) == [1, 2, 3]
    assert reader.dropped == 0
    reader._sequences = whole


def test_many_threads_lose_nothing_and_overwrite_nothing(tmp_path):
    writer = RingWriter(tmp_path, records=65536)
    reader = RingReader(writer.path)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda first=first: [sample(writer, first + n) for n in range(5000)])
            for first in range(0, 40000, 5000)
        ]
        for thread in threads:
            thread.start()
        found = []
        while any(thread.is_alive() for thread in threads):
            found += values(reader.read())
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    found += values(reader.read(final=True))
    assert sorted(found) == list(range(40000))
    reader.close()
    writer.path.unlink()


def test_names_come_out_in_order_and_a_full_arena_says_no(pair):
    writer, reader = pair
    lines = [b'{"n": %d, "x": "%s"}' % (n, b"y" * n) for n in range(40)]
    assert all(writer.write_name(line) for line in lines)
    assert reader.read_names() == b"".join(line + b"\n" for line in lines)
    assert reader.read_names() == b""
    while writer.write_name(b"z" * 500):
        pass
    assert reader.counters["names_dropped"] == 1
    assert set(reader.read_names()) == {ord("z"), ord("\n")}


def test_a_ring_is_readable_after_its_writer_was_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from poolctl.trace.ring import RingWriter\n"
        "w = RingWriter(Path(sys.argv[1]), records=64)\n"
        "for n in range(10): w.write(13, n, 0, 0, 0, 0, n, n, 0, 0, n)\n"
        "w.write_name(b'{}'); print(w.path, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        path = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    reader = RingReader(ring.Path(path))
    assert values(reader.read(final=True)) == list(range(10))
    assert reader.read_names() == b"{}\n"
    reader.close()
    ring.Path(path).unlink()


def test_without_room_for_a_ring_there_is_one_clear_line_and_nothing_is_left(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ring, "SHARED_MEMORY", tmp_path / "none")
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OutputError, match="No space left"):
        RingWriter(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_shared_memory_the_ring_is_in_the_run_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(ring, "SHARED_MEMORY", tmp_path / "none")
    writer = RingWriter(tmp_path, records=64)
    assert writer.path.parent == tmp_path


def test_a_file_that_is_no_ring_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"nothing" * 1000)
    with pytest.raises(InputError, match="not a ring"):
        RingReader(tmp_path / "x")
    with pytest.raises(InputError, match="cannot read"):
        RingReader(tmp_path / "y")


def test_the_number_of_records_is_a_power_of_two(tmp_path):
    with pytest.raises(ValueError, match="power of two"):
        RingWriter(tmp_path, records=1000)


def test_an_event_file_is_read_up_to_its_last_whole_record(tmp_path):
    path = tmp_path / "events-1.bin"
    path.write_bytes(eventfile.header(1, (5, 6)) + bytes(RECORD_BYTES) + b"torn")
    assert eventfile.read_header(path) == (1, (5, 6))
    assert len(eventfile.read_records(path)) == RECORD_BYTES
    path.write_bytes(b"what")
    with pytest.raises(InputError, match="not an event file"):
        eventfile.read_records(path)
    path.write_bytes(b"POOLCTL1" + b"\xff" * 100)
    with pytest.raises(InputError, match="record layout"):
        eventfile.read_records(path)
