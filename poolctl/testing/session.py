"""Session: watch the pools of a test run, and fail the test that leaks, abandons or nests a checkout.

In: pytest's hooks. Out: an error at the teardown of the test, with the line that asked; a recorded run. A checkout made
by a fixture that outlives the test belongs to the fixture, and is told at the end.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from poolctl.capture import install
from poolctl.capture.recorder import Recorder
from poolctl.testing.tracker import Held, Tracker
from poolctl.trace.drain import Drain
from poolctl.trace.names import read_names
from poolctl.trace.run import DEFAULT_ROOT, Run

RING_RECORDS = 1 << 18
"""Nothing is read while a test runs: room for some 80,000 leases a test."""
BETWEEN = "between tests"


class Session:
    """What runs while `--poolctl` is on. One a process, so one a worker of pytest-xdist."""

    def __init__(self, config: Any) -> None:
        self._run = Run.create(Path(config.rootpath) / DEFAULT_ROOT)
        self._recorder = Recorder(self._run.path, ring_records=RING_RECORDS)
        self._installed = install(self._recorder)
        (names,) = self._run.path.glob("names-*.jsonl")
        self._drain = Drain(names)
        self._tracker = Tracker()
        self._owner = BETWEEN
        self._test = BETWEEN
        self._of_test: list[Held] = []
        self._raw: list[bytes] = []
        self._guilty = 0
        self._run.write_meta(
            {
                "command": "pytest",
                "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "anchor": list(self._drain.anchor),
                "processes": 1,
                "end": "interrupted",
            }
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[Any]:
        """A test begins: what is asked from here on is its own."""
        self._become(BETWEEN)
        self._of_test, self._raw = [], []
        self._test = item.nodeid
        self._become(item.nodeid)
        try:
            return (yield)
        finally:
            self._become(BETWEEN)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        """What a fixture of a wider scope asks for belongs to the fixture."""
        before = self._owner
        if fixturedef.scope != "function":
            self._become(f"fixture {fixturedef.argname} ({fixturedef.scope})")
        try:
            return (yield)
        finally:
            self._become(before)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: Any) -> Iterator[Any]:
        """All that belongs to the test is put away: what it holds now, nobody will return."""
        result = yield
        self._become(item.nodeid)
        wrong = self._wrong(item)
        if wrong:
            self._guilty += 1
            pytest.fail("\n".join(wrong), pytrace=False)
        return result

    def pytest_sessionfinish(self) -> None:
        """Take the hooks off and keep the run."""
        gc.collect()
        self._become(BETWEEN)
        self._installed.remove()
        self._recorder.close()
        self._drain.close()
        meta = self._run.read_meta()
        self._run.write_meta({**meta, "end": "completed", "capture_dropped": self._drain.dropped})

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was seen, and what fixtures never returned."""
        left = [held for held in self._tracker.open.values() if held.got and not held.told]
        tell = terminalreporter.write_line
        tell(f"poolctl: {self._tracker.total:,} checkouts, {self._guilty} tests misused their pool; run {self._run.id}")
        for held in left:
            tell(f"poolctl: {held.owner} never returned the connection taken at {self._place(held.site)}")
        if self._drain.dropped:
            tell(f"poolctl: {self._drain.dropped:,} records were lost: some misuse may have gone unseen")

    def _become(self, owner: str) -> None:
        """Give what was recorded since the last time to the owner of until now."""
        raw = self._drain.poll()
        if raw:
            changed = self._tracker.feed(raw, self._owner)
            self._of_test += [held for held in changed if held.owner == self._test]
            self._raw.append(bytes(raw))
        self._owner = owner

    def _wrong(self, item: Any) -> list[str]:
        marks = list(item.iter_markers("poolctl"))
        accepts = {name for mark in marks for name, value in mark.kwargs.items() if value}
        said = []
        for held in self._tracker.of(item.nodeid):
            held.told = True
            if "leaks" not in accepts:
                said.append(f"leaked: the connection taken at {self._place(held.site)} was never returned")
        for held in self._of_test:
            if held.abandoned and not held.told and "leaks" not in accepts:
                said.append(f"abandoned: the connection taken at {self._place(held.site)} was left to the collector")
            if held.inside and "nested" not in accepts:
                said.append(
                    f"nested: a second connection was taken at {self._place(held.site)} while the same task held "
                    f"the one of {self._place(held.inside)}"
                )
        objectives = [text for mark in marks for text in mark.args]
        if objectives:
            from poolctl.testing.objectives import missed

            said += missed(objectives, self._run, b"".join(self._raw))
        return list(dict.fromkeys(said))

    def _place(self, site: int) -> str:
        entry = read_names(self._drain.names_path)["site"].get(site)
        return f"{entry['file']}:{entry['line']} {entry['function']}" if entry else "a line that is not known"
