"""What tests of capture share: capture on, and the ledger that it wrote."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from poolctl.capture import Recorder, install
from poolctl.trace import eventfile
from poolctl.trace.drain import Drain
from poolctl.trace.events import LAYOUTS, PAYLOADS, RECORD_BYTES, Flag, Kind
from poolctl.trace.names import read_names

ENDS = (Kind.REFUSED, Kind.CHECKIN, Kind.DETACH)


class Captured:
    """What was captured; complete once the block is left."""

    def __init__(self, directory: Path, recorder: Recorder, installed) -> None:
        self.recorder, self.installed = recorder, installed
        self._drain = Drain(directory / f"names-{os.getpid()}.jsonl")
        self.events: list[SimpleNamespace] = []
        self.names: dict = {}

    def poll(self) -> list[SimpleNamespace]:
        """Read what there is; return all events so far."""
        self._drain.poll()
        self._load()
        return self.events

    def finish(self) -> None:
        self.installed.remove()
        self.recorder.close()
        self._drain.close()
        self._load()

    def of(self, *kinds: Kind) -> list[SimpleNamespace]:
        return [event for event in self.events if event.kind in kinds]

    def ledger(self) -> dict[int, list[SimpleNamespace]]:
        """The records of each lease, in order."""
        leases = defaultdict(list)
        for event in self.events:
            if event.lease:
                leases[event.lease].append(event)
        return dict(leases)

    def ends(self) -> list[str]:
        """How each lease ended, in the order of the requests."""
        return [end_of(events) for _, events in sorted(self.ledger().items())]

    def site(self, event) -> dict:
        return self.names["site"][event.site]

    def name(self, kind: str, number: int) -> str:
        return self.names[kind][number]["name"]

    def _load(self) -> None:
        self.events = parse(eventfile.read_records(self._drain.events_path))
        self.names = read_names(self._drain.names_path)


def parse(raw) -> list[SimpleNamespace]:
    """Records as objects with the fields of their kind."""
    events = []
    for start in range(0, len(raw), RECORD_BYTES):
        kind = Kind(raw[start + 24])
        sequence, at, lease, _, flags, pool, site, *payload = LAYOUTS[kind].unpack_from(raw, start)
        fields = dict(zip((name for name, _ in PAYLOADS[kind]), payload, strict=True))
        events.append(
            SimpleNamespace(
                sequence=sequence, at=at, lease=lease, kind=kind, flags=Flag(flags), pool=pool, site=site, **fields
            )
        )
    return events


def end_of(events) -> str:
    """The word of FIELD.md for how a lease ended; asserts that it did at most once, and began once."""
    requests = [event for event in events if event.kind is Kind.REQUEST]
    checkouts = [event for event in events if event.kind is Kind.CHECKOUT]
    ends = [event for event in events if event.kind in ENDS]
    assert len(requests) == 1, events
    assert len(checkouts) <= 1, events
    assert len(ends) <= 1, events
    if not ends:
        return "open"
    end = ends[0]
    assert (end.kind is Kind.REFUSED) == (not checkouts), events
    if end.kind is Kind.REFUSED:
        (word,) = [
            word
            for flag, word in ((Flag.TIMED_OUT, "timed_out"), (Flag.CANCELLED, "cancelled"), (Flag.ERROR, "failed"))
            if flag in end.flags
        ]
        return word
    if Flag.ABANDONED in end.flags:
        return "abandoned"
    if end.kind is Kind.DETACH:
        return "detached"
    if Flag.CANCELLED in end.flags:
        return "cancelled"
    return "invalidated" if Flag.INVALIDATED in end.flags else "returned"


@contextmanager
def capture(directory: Path, **options):
    """Capture the block: `with capture(tmp_path) as captured: …`, then look at `captured`."""
    recorder = Recorder(directory, **options)
    captured = Captured(directory, recorder, install(recorder))
    try:
        yield captured
    finally:
        captured.finish()
    assert captured.names["capture"][0]["errors"] == 0
    assert captured.names["capture"][0]["dropped"] == 0
