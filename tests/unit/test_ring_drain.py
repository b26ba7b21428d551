from __future__ import annotations

import errno
import json
import os

import pytest

from poolctl.capture import Recorder
from poolctl.errors import InputError, OutputError
from poolctl.trace import drain as drain_module
from poolctl.trace import eventfile
from poolctl.trace.drain import Drain, Drains
from poolctl.trace.events import RECORD_BYTES
from poolctl.trace.names import read_names
from poolctl.trace.tail import COMPILED


@pytest.fixture
def recorder(tmp_path):
    recorder = Recorder(tmp_path, ring_records=64)
    yield recorder
    recorder.close()
    recorder.ring_path.unlink(missing_ok=True)


def names_file(directory):
    return directory / f"names-{os.getpid()}.jsonl"


def sample(recorder, at):
    recorder.sample(at, cpu=1, wall=2, in_flight=3, due=4, threads_cpu=5)


def test_a_poll_appends_the_records_and_returns_them(tmp_path, recorder):
    drain = Drain(names_file(tmp_path))
    sample(recorder, 1)
    first = drain.poll()
    sample(recorder, 2)
    second = drain.poll()
    assert bytes(eventfile.read_records(drain.events_path)) == first + second
    assert len(first) == len(second) == RECORD_BYTES
    drain.close()


def test_every_number_in_the_event_file_has_its_name_in_the_names_file(tmp_path, recorder):
    drain = Drain(names_file(tmp_path))
    recorder.operation(1, 2, 3, "buy", 4, error=ValueError("no"))
    drain.close()
    names = read_names(drain.names_path)
    assert names["context"][1]["name"] == "buy"
    assert names["error"][1]["name"] == "ValueError"


def test_a_full_disk_is_an_error_of_poolctls_and_what_was_read_is_written_later(tmp_path, recorder, monkeypatch):
    drain = Drain(names_file(tmp_path))
    drain.poll()
    write, room = os.write, [RECORD_BYTES + 10]

    def full(fd, data):
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(fd, bytes(data[: room[0]]))
        room[0] -= written
        return written

    for at in range(3):
        sample(recorder, at)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left"):
        drain.poll()
    assert drain.events_path.stat().st_size % RECORD_BYTES == 0
    assert len(eventfile.read_records(drain.events_path)) == RECORD_BYTES
    sample(recorder, 3)
    monkeypatch.setattr(os, "write", write)
    drain.poll()
    assert len(eventfile.read_records(drain.events_path)) == 4 * RECORD_BYTES
    assert recorder.ring.counters[0] == 0, "the application had no error"
    drain.close()


def test_a_removed_run_directory_is_an_error_of_poolctls_and_the_ring_is_removed_all_the_same(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    recorder = Recorder(directory, ring_records=64)
    drain = Drain(names_file(directory))
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    sample(recorder, 1)
    with pytest.raises(OutputError):
        drain.close()
    assert not recorder.ring_path.exists()
    sample(recorder, 2)
    recorder.close()


def test_the_last_line_says_what_the_recorder_counted_and_could_not_see(tmp_path, recorder):
    drain = Drain(names_file(tmp_path))
    recorder.tell_blind("the dark")
    recorder.count_error()
    drain.close()
    last = json.loads(drain.names_path.read_text().splitlines()[-1])
    assert last["kind"] == "capture"
    assert (last["blind"], last["errors"], last["dropped"]) == (["the dark"], 1, 0)
    assert last["compiled"] is COMPILED
    assert not recorder.ring_path.exists()


def test_a_closed_recorder_still_knows_its_own_ring_and_nothing_else(tmp_path):
    recorder = Recorder(tmp_path, ring_records=64)
    before = recorder.ring_path
    recorder.close()
    assert recorder.ring_path == before
    assert before.suffix == ".ring"
    sample(recorder, 1)
    recorder.context("more")
    before.unlink()


def test_drains_find_the_processes_as_they_announce_themselves(tmp_path, recorder):
    drains = Drains(tmp_path)
    (tmp_path / "names-0.jsonl").write_text('{"kind": "proc')
    sample(recorder, 1)
    ((drain, records),) = drains.poll()
    assert drain.pid == os.getpid()
    assert len(records) == RECORD_BYTES
    assert drains.poll() == []
    sample(recorder, 2)
    drains.close()
    assert len(eventfile.read_records(drain.events_path)) == 2 * RECORD_BYTES


def test_a_window_begins_with_the_first_of_the_processes_that_are_met_together(tmp_path, recorder, monkeypatch):
    """Who waits for the first one looks from another thread, and a child may be met before its parent."""
    other = Recorder(tmp_path, ring_records=64)
    drains, seen = Drains(tmp_path), []

    class Watched(Drain):
        def __init__(self, *args):
            seen.append(drains.began)
            super().__init__(*args)

    monkeypatch.setattr(drain_module, "Drain", Watched)
    drains.poll()
    assert seen == [None, None]
    assert drains.began == min((ring.anchor.monotonic_ns, ring.anchor.wall_ns) for ring in (recorder.ring, other.ring))
    drains.close()
    other.close()


def test_a_names_file_without_a_ring_is_refused(tmp_path):
    path = tmp_path / "names-1.jsonl"
    path.write_text('{"kind": "process"}\n')
    with pytest.raises(InputError, match="names no ring"):
        drain_module.Drain(path)
